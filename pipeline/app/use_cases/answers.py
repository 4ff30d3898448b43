"""The answers of a job so far, as batches."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.app.jobs.job import open_job
from pipeline.app.jobs.so_far import parts_of, results_of
from pipeline.config import Job
from pipeline.plan import FAILED, SUCCEEDED


def answers(job: Job, *, failed_only: bool = False) -> Iterator[pa.RecordBatch]:
    """Yield the rows that have an outcome, or those alone that failed, as the output shows them; at least one batch.

    Raises:
        NoCheckpoint: nothing was run yet.
        InvalidJob: the job or its input is wrong.
        JobLocked, CheckpointFailed: as for a run.
    """
    opened = open_job(job, for_sending=False)
    with parts_of(opened) as parts:
        results = results_of(opened, parts, FAILED if failed_only else (*SUCCEEDED, *FAILED))
        yield pa.RecordBatch.from_pylist([], results.schema)
        yield from results.batches()
