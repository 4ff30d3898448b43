"""The answers of a job so far: those of all its shards together, where it was divided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from msgspec import Struct

from pipeline.app.jobs.job import OpenJob, in_shards
from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.moment import at_a_moment, not_run_yet
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.app.jobs.sharding import gathered_id
from pipeline.config import Job
from pipeline.errors import JobLocked, NoCheckpoint
from pipeline.journal import Journal, State
from pipeline.plan import FAILED, SUCCEEDED
from pipeline.sink import AnyResults, GatheredResults, Results


class Part(Struct, frozen=True):
    """A job, or one shard of it, with its journal; None where it was not run."""

    opened: OpenJob
    journal: Journal | None

    def results(self, states: tuple[State, ...]) -> Results | None:
        """Return the rows in these states; None where it was not run. Raises as `plan_unsaved` does."""
        if self.journal is None:
            return None
        rows, prefix = self.opened.rows, self.opened.job.config.output.prefix
        return Results(rows, plan_unsaved(self.opened, self.journal), self.journal, rows.carried, prefix, states)


@contextmanager
def parts_of(opened: OpenJob, *, amid_a_run: bool = False) -> Iterator[list[Part]]:
    """Open the journal of a job, or of each shard of its latest division, for reading; `amid_a_run` also while a run
    has it in hand.

    Raises JobLocked, CheckpointFailed; InvalidJob where a checkpoint is another job's.
    """
    with ExitStack() as held:
        yield [Part(one, _journal(one.job, held, amid_a_run=amid_a_run)) for one in in_shards(opened)]


def _journal(job: Job, held: ExitStack, *, amid_a_run: bool) -> Journal | None:
    if not amid_a_run:
        return held.enter_context(reading(job))
    try:
        return held.enter_context(at_a_moment(job))[0]
    except NoCheckpoint:
        return None
    except JobLocked:
        if job.shard is None or Journal.exists(job.checkpoint_path):
            raise
        return None  # its first run has just begun


def results_of(opened: OpenJob, parts: Sequence[Part], states: tuple[State, ...] = (*SUCCEEDED, *FAILED)) -> AnyResults:
    """Return the rows of a job in these states, whose parts were opened.

    Raises:
        NoCheckpoint: nothing was run yet.
        InvalidJob, CheckpointFailed: as `plan_unsaved` does.
    """
    if all(part.journal is None for part in parts):
        raise not_run_yet(opened.job)
    found = tuple(part.results(states) for part in parts)
    if found[0] is not None and found[0].rows is opened.rows:
        return found[0]
    ids = ["" if one is None else one.checkpoint_id for one in found]
    return GatheredResults(opened.rows, found, gathered_id(ids))
