"""The end of a run: what there is is published, and said."""

from __future__ import annotations

from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.observe.answer_counts import AnswerCounts, counts_of_journal, counts_of_output
from pipeline.app.running.context import RunContext
from pipeline.app.running.ending import ending
from pipeline.app.running.publishing import publish_rows
from pipeline.errors import StoreFailed, StoreRefused
from pipeline.journal import State
from pipeline.plan import Plan, failure_kinds
from pipeline.runner import Stop
from pipeline.storage import StorePath

_PENDING = (State.NEW, State.ATTEMPTED, State.CHANGED)


def finish(context: RunContext, plan: Plan, held: HeldCheckpoint, stop: Stop | None) -> None:
    """Publish what there is, and say how the run ended. `stop` is what ended it before all rows were through."""
    config, journal, figures = context.opened.job.config, held.journal, context.figures
    assert journal is not None
    unsaved = None if context.backups is None else context.backups.finish(journal.totals.commits)
    is_whole = plan.count(*_PENDING) == 0
    seconds = config.limits.drain_seconds if context.stop_request.signal is not None else None
    try:
        output, is_current = publish_rows(context.opened, plan, journal, is_whole=is_whole, seconds=seconds)
    except StoreRefused as error:
        raise StoreFailed(f"{error}; every answer is in the checkpoint") from error
    failures = failure_kinds(plan, journal, max_runs=config.retry.max_runs)
    ended = ending(
        stop,
        context.options,
        is_whole=is_whole,
        is_published=is_current and output is not None,
        failed_now=figures.failed_now,
        has_marks=figures.has_marks,
        is_accepted=failures.are_accepted,
    )
    answers = AnswerCounts()
    if is_current:
        if output is None or isinstance(output.path, StorePath):
            answers = counts_of_journal(plan, journal)
        else:
            answers = counts_of_output(output, config.output.prefix)
    place = None if output is None else str(output)
    figures.update(answers, ended, output=place, **failures.counts())
    figures.write_at_rest(held.directory, journal, failures)
    if unsaved is not None:
        raise unsaved
