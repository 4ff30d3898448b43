"""A run's new plan: what becomes of rows that are finished, changed or to be asked again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain

from pipeline.app.jobs import drafting
from pipeline.app.jobs.changes import refuse_changes, refuse_lines_out, refuse_lost_shares
from pipeline.app.jobs.checkpoint import register_settings
from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.jobs.job import OpenJob
from pipeline.app.running import longer_answers
from pipeline.app.running.options import RunOptions
from pipeline.journal import Changes, Journal
from pipeline.plan import Plan
from pipeline.plan.judging import answers_again, judge_again
from pipeline.wording import counted


def plan_anew(opened: OpenJob, held: HeldCheckpoint, options: RunOptions, notes: list[str]) -> Plan:
    """Make a new plan the journal's, and save it. Notes for the user are added to `notes`. Raises as `prepare` does."""
    config = opened.job.config
    keep, rerun = options.on_change == "keep", options.on_change == "rerun"
    longer = options.asks_longer
    former = longer_answers.former_rows(opened, held.journal) if longer else ()
    with drafting.planner(
        opened, held.directory, held.journal, forget_kept=rerun, former=former, joins_all=longer
    ) as made:
        holding: list[int] = []
        if held.journal is not None:
            holding = judge_again(made, held.journal, opened.rows.expected, every=rerun)
        if options.on_change == "refuse" and not (options.cancel and len(made.plan)):
            refuse_changes(opened, held.directory, held.journal, made)
        if not (rerun or options.cancel or options.retry):
            refuse_lines_out(opened, held.journal, made)
        if not (rerun or options.cancel):
            refuse_lost_shares(opened, held.directory, held.journal, made)
        chosen: Sequence[int] = ()
        if options.asks_longer and held.journal is not None:
            chosen = longer_answers.choose(made, held.journal, opened)
        if held.journal is None:
            Journal.create(held.directory, job=config.name, simulated=config.endpoint.is_simulator)
        elif carried := made.carried_changes():
            notes.append(
                f"the carried columns of {counted(carried, 'finished row')} changed; nothing is sent again for that"
            )
        journal = held.writer()
        settings = register_settings(opened.settings, journal)
        kept = drafting.keep_changes(made) if keep else ()
        made.plan.kept_empty = keep and not len(made.plan) and made.answers() > 0
        adopted = chain(made.adoptions(), kept)
        drafting.record_plan(made.plan, opened.rows, held.directory, journal, settings, adopted)
        if events := answers_again(made, opened.rows, holding, journal, settings):
            made.plan.take(journal.commit(Changes(events)), events)
        if chosen:
            longer_answers.mark(made, opened.rows, chosen, journal, settings)
        if options.cancel:  # it shows the answers that there are; the next run asks what becomes of them
            deque(drafting.keep_changes(made), maxlen=0)
        made.share()
    if not options.cancel:
        drafting.keep_plan(made.plan, held.directory)
    return made.plan
