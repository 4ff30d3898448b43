"""The answers of a job so far, as batches."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.app.jobs.job import open_job
from pipeline.app.jobs.locking import reading
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.config import Job
from pipeline.errors import NoCheckpoint
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
            opened.carried,
            config.output.prefix,
            FAILED if failed_only else (*SUCCEEDED, *FAILED),
        )
        yield pa.RecordBatch.from_pylist([], results.schema)
        yield from results.batches()
