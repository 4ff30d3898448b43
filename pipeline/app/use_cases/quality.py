"""The answers of jobs looked at as a whole: one by itself, or two side by side. Sends nothing, and takes no lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.app.jobs.job import open_job
from pipeline.app.jobs.moment import not_run_yet
from pipeline.app.jobs.so_far import parts_of, results_of
from pipeline.config import Job
from pipeline.quality import Comparison, Inspected, compare, inspect
from pipeline.sink import AnyResults


def inspect_answers(job: Job, *, near: bool = True) -> Inspected:
    """Return what the answers of a job so far are like, or those of all its shards; `near` looks for near duplicates.

    Raises:
        InvalidInput: the job, or one of its shards, was not run yet, or as a run would.
        CheckpointFailed: the checkpoint cannot be trusted.
    """
    with _results(job) as results:
        return inspect(results, near=near)


def compare_answers(a: Job, b: Job) -> Comparison:
    """Return how the answers of two jobs so far differ, row by row. Raises as `inspect_answers` does."""
    with _results(a) as first, _results(b) as second:
        return compare(first, second)


@contextmanager
def _results(job: Job) -> Iterator[AnyResults]:
    opened = open_job(job, for_sending=False)
    with parts_of(opened, amid_a_run=True) as parts:
        for part in parts:
            if part.journal is None:  # figures that its answers would change
                raise not_run_yet(part.opened.job)
        yield results_of(opened, parts)
