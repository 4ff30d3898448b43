"""The trial of a job's first rows: their requests are made before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from pipeline.app.jobs.job import OpenJob
from pipeline.config import Job, variants
from pipeline.errors import InvalidJob
from pipeline.plan import Variant
from pipeline.prompts import Trial
from pipeline.records import Row
from pipeline.sources import Source

TRIED_ROWS = 1000
"""Rows whose requests are made before anything is sent, to see whether they can be."""


def try_templates(opened: OpenJob) -> None:
    """Make the requests of the first rows, under a watch.

    Raises InvalidJob where a template spins, every one of them fails, or all of them are the same: then it is the job
    that is wrong.
    """
    tried = try_first_rows(opened.job, opened.rows.variants, lambda: first_rows(opened.rows.source, TRIED_ROWS))
    if tried.mistakes:
        raise InvalidJob([opened.job.placed(mistake) for mistake in tried.mistakes])


def try_first_rows(
    job: Job, asked: Sequence[Variant], rows: Callable[[], Iterator[Row]], total_seconds: float | None = None
) -> Trial:
    """Make the requests of some rows in each of a job's variants, as `RequestBuilder.trial` does."""
    whole = Trial()
    for one, variant in zip(asked, variants(job.config), strict=True):
        tried = one.builder.trial(rows(), total_seconds=total_seconds, most_tokens=job.config.limits.tokens_per_minute)
        whole.mistakes += [replace(found, key=variant.placed_key(found.key)) for found in tried.mistakes]
        whole.rows += tried.rows
        whole.unsendable += tried.unsendable
    whole.mistakes = list(dict.fromkeys(whole.mistakes))
    return whole


def first_rows(source: Source, count: int) -> Iterator[Row]:
    """Yield the first rows of the input as Python values."""
    from pipeline.sources.identity import row_values

    for batch in source.batches():
        taken = batch.slice(0, count)
        yield from row_values(taken)
        count -= taken.num_rows
        if count <= 0:
            return
