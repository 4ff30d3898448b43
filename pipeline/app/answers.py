"""The answers of a job so far, as batches or in a file of another shape."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.app.access import reading
from pipeline.app.exports import is_own_export, record_export
from pipeline.app.job import open_job
from pipeline.app.paths import refuse_to_write
from pipeline.app.places import kind_of_special
from pipeline.app.planning import plan_unsaved
from pipeline.config import Job
from pipeline.errors import InvalidInput, NoCheckpoint
from pipeline.export import export, stream
from pipeline.plan import FAILED, SUCCEEDED
from pipeline.sink import Results


def answers(job: Job, *, failed_only: bool = False) -> Iterator[pa.RecordBatch]:
    """Yield the rows that have an outcome, or those alone that failed, as the output shows them; at least one batch.

    Raises:
        NoCheckpoint: nothing was run yet.
        InvalidJob: the job or its input is wrong.
        JobLocked, CheckpointFailed: as for a run.
    """
    opened = open_job(job, for_sending=False)
    with reading(job) as journal:
        if journal is None:
            raise NoCheckpoint(f"the job {job.config.name!r} has no answers yet; run it first")
        config = job.config
        results = Results(
            opened.rows,
            plan_unsaved(opened, journal),
            journal,
            config.input.columns,
            config.output.prefix,
            FAILED if failed_only else (*SUCCEEDED, *FAILED),
        )
        yield pa.RecordBatch.from_pylist([], results.schema)
        yield from results.batches()


def export_answers(job: Job, to: str, path: Path | None, *, overwrite: bool = False) -> int:
    """Write the answers so far in another shape, to stdout where there is no path. Returns the number of rows.

    Args:
        overwrite: replace a file that no export of this job wrote, too; write into a pipe or a device.

    Raises InvalidInput where there are no answers yet, where the input has changed since the last run, and where
    something else stands at the path.
    """
    opened = open_job(job, for_sending=False)
    directory = job.checkpoint_path
    if path is not None:
        refuse_to_write(job, path)
        if not overwrite and os.path.lexists(path) and not is_own_export(directory, path):
            special = "is a symbolic link" if path.is_symlink() else None
            found = kind_of_special(path)
            special = special or (found and f"is {found}") or "exists, and no export of this job wrote it as it is"
            raise InvalidInput(f"{path} {special}; name another file, or say --overwrite")
    with reading(job) as journal:
        if journal is None:
            raise InvalidInput(f"the job {job.config.name!r} has no answers yet; run it first: {job.command('run')}")
        config = job.config
        results = Results(
            opened.rows, plan_unsaved(opened, journal), journal, config.input.columns, config.output.prefix
        )
        if path is None or (kind_of_special(path) is not None and not path.is_symlink()):
            return stream(results, to, path)
        return export(results, to, path, lambda draft: record_export(directory, draft, path))
