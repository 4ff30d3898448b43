"""The answers of jobs looked at as a whole: one by itself, or two side by side. Sends nothing, and takes no lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pipeline.app.jobs.job import OpenJob, in_shards, open_job
from pipeline.app.jobs.moment import at_a_moment
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.app.jobs.sharding import gathered_id
from pipeline.config import Job
from pipeline.quality import Comparison, Inspected, compare, inspect
from pipeline.sink import AnyResults, GatheredResults, Results


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
    with ExitStack() as held:
        parts = tuple(_results_of(part, held) for part in in_shards(opened))
        if parts[0].rows is opened.rows:
            yield parts[0]
        else:
            yield GatheredResults(opened.rows, parts, gathered_id([part.checkpoint_id for part in parts]))


def _results_of(opened: OpenJob, held: ExitStack) -> Results:
    journal, _ = held.enter_context(at_a_moment(opened.job))
    plan = plan_unsaved(opened, journal)
    return Results(opened.rows, plan, journal, opened.carried, opened.job.config.output.prefix)
