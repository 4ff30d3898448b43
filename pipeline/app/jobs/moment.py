"""A job's journal for reading, also while a run has it in hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pipeline.app.jobs.locking import reading, refuse_foreign_checkpoint
from pipeline.app.jobs.scratch import scratch
from pipeline.app.jobs.standing import own_output
from pipeline.config import Job
from pipeline.errors import JobLocked, NoCheckpoint
from pipeline.journal import Journal
from pipeline.journal.snapshot import read_copy

_MOST_COPIES = 5


@contextmanager
def at_a_moment(job: Job) -> Iterator[tuple[Journal, bool]]:
    """Open the journal for reading, and say whether a run is under way; in that case it is a copy.

    Raises JobLocked where it is in motion all the time.
    """
    with ExitStack() as stack:
        for _ in range(_MOST_COPIES):
            try:
                journal, is_running = stack.enter_context(reading(job)), False
            except JobLocked as error:
                locked = error
                journal, is_running = (
                    read_copy(job.checkpoint_path, stack.enter_context(scratch(job.checkpoint_path))),
                    True,
                )
                if journal is None:
                    continue
                stack.callback(journal.close)
                refuse_foreign_checkpoint(job, job.checkpoint_path, journal.identity)
            if journal is None:
                raise not_run_yet(job)
            yield journal, is_running
            return
        raise locked


def not_run_yet(job: Job) -> NoCheckpoint:
    """Return the refusal of a command that needs answers."""
    which = f"{'the job' if job.shard is None else f'shard {job.shard} of the job'} {job.config.name!r}"
    if (output := own_output(job)) is not None:
        gone = f"{which} has no checkpoint here, though {output} was written from one"
        return NoCheckpoint(f"{gone}; make it anew first: {job.command('recover')}")
    return NoCheckpoint(f"{which} has not been run yet; run it first: {job.command('run')}")
