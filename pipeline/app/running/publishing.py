"""The output of a run: the whole of it at its path, or what there is so far beside it."""

from __future__ import annotations

from pipeline.app.jobs.job import OpenJob
from pipeline.app.jobs.shown import state_of
from pipeline.app.jobs.source_job import source_facts
from pipeline.journal import Journal
from pipeline.plan import FAILED, SUCCEEDED, Plan
from pipeline.sink import (
    JournalState,
    OutOfTime,
    OutputMetadata,
    Results,
    is_complete,
    publish,
    shows,
    supersede,
)
from pipeline.storage import Destination
from pipeline.version import __version__


def publish_rows(
    opened: OpenJob, plan: Plan, journal: Journal, *, is_whole: bool, seconds: float | None
) -> tuple[Destination | None, bool]:
    """Publish every row that has an outcome, unless the output is current, and delete what it supersedes.

    Args:
        is_whole: every row has one; else they go into the partial output.
        seconds: give up after so long; an earlier file then stays.

    Returns the place of the present output, None if there is none, and whether it holds every such row. Raises
    CheckpointFailed, and InvalidInput where somebody else's file is in the way.
    """
    if not opened.job.writes_output:
        return None, True
    config = opened.job.config
    output = opened.job.output
    results = Results(opened.rows, plan, journal, opened.rows.carried, config.output.prefix)
    state = state_of(opened, results)
    place: Destination | None = output if is_whole else output.partial
    assert place is not None
    is_current = True
    if not shows(place, state, plan.rows(*SUCCEEDED, *FAILED), config.output.rows_per_file):
        metadata = metadata_of(opened, journal.checkpoint_id, JournalState.of(journal), tuple(journal.runs()), state)
        try:
            publish(results, place, config.output, metadata, whole=is_whole, seconds=seconds)
        except OutOfTime:
            place, is_current = place if is_complete(place) else None, False
    supersede(output, journal.checkpoint_id, by_whole=is_whole, overwrite=config.output.overwrite)
    return place, is_current


def metadata_of(
    opened: OpenJob, checkpoint_id: str, journal: JournalState, run_ids: tuple[str, ...], state: str
) -> OutputMetadata:
    """Return the metadata of an output. `state` is a digest of its content."""
    return OutputMetadata(
        job=opened.job.config.name,
        checkpoint_id=checkpoint_id,
        journal=journal,
        version=__version__,
        configuration=opened.job.document,
        prices={model: terms.price for model, terms in opened.terms.items()},
        run_ids=run_ids,
        state=state,
        source_job=None if opened.job.source_job is None else source_facts(opened.job.source_job),
    )
