"""The answers of jobs looked at as a whole: one by itself, or two side by side. Sends nothing, and takes no lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.app.jobs.job import open_job
from pipeline.app.jobs.moment import at_a_moment
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.config import Job
from pipeline.quality import Comparison, Inspected, compare, inspect
from pipeline.sink import Results


def inspect_answers(job: Job, *, near: bool = True) -> Inspected:
    """Return what the answers of a job so far are like; `near` looks for near duplicates too.

    Raises:
        InvalidInput: nothing was run yet, or as a run would.
        CheckpointFailed: the checkpoint cannot be trusted.
    """
    with _results(job) as results:
        return inspect(results, near=near)


def compare_answers(a: Job, b: Job) -> Comparison:
    """Return how the answers of two jobs so far differ, row by row. Raises as `inspect_answers` does."""
    with _results(a) as first, _results(b) as second:
        return compare(first, second)


@contextmanager
def _results(job: Job) -> Iterator[Results]:
    opened = open_job(job, for_sending=False)
    with at_a_moment(job) as (journal, _):
        plan = plan_unsaved(opened, journal)
        yield Results(opened.rows, plan, journal, opened.carried, job.config.output.prefix)
