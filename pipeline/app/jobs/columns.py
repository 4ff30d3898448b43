"""The columns of a job's output: which ones it carries and adds, and whether they go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline.config import Job, JobConfig
from pipeline.errors import Mistake
from pipeline.expect import Expected
from pipeline.sink import result_fields, unwritable
from pipeline.sources import Source
from pipeline.sources.batch_requests import ID_COLUMN


def carried_columns(config: JobConfig, columns: Sequence[str]) -> Sequence[str] | None:
    """Return which of the input's columns the output has; None for all. Images are carried only if they are named."""
    if config.input.has_bodies and config.input.columns is None:
        return [ID_COLUMN]
    images = config.prompt.images
    if config.input.columns is not None or images is None:
        return config.input.columns
    return [name for name in columns if name not in images]


def samples_of(config: JobConfig) -> int | None:
    """Return how many answers the job asks for each row; None if it does not say."""
    return config.prompt.samples if "samples" in config.prompt.model_fields_set else None


def column_clashes(config: JobConfig, source: Source, expected: Expected | None) -> Iterator[Mistake]:
    """Yield which columns of the input have the names of those that the output adds."""
    carried = carried_columns(config, source.schema.names)
    carried = source.schema.names if carried is None else carried
    fields = result_fields(
        has_variants=config.sweep is not None,
        has_samples=samples_of(config) is not None,
        expected=expected,
        has_replies=config.output.raw_reply,
        shares=config.deduplicate or config.cache is not None,
    )
    added = [config.output.prefix + field.name for field in fields]
    taken = [repr(name) for name in carried if name in added and name in source.schema.names]
    if taken:
        columns = f"a column {taken[0]}" if len(taken) == 1 else f"columns {', '.join(taken)}"
        yield Mistake(
            f"the input already has {columns}, which the output adds",
            key="output.prefix",
            suggestion='set output.prefix, for example "answer_", or name the columns to carry in input.columns',
        )


def unwritable_columns(job: Job, source: Source) -> Iterator[Mistake]:
    """Yield which columns of given rows no output can hold."""
    if job.table is None or not job.writes_output:
        return  # what a file holds, Parquet holds
    carried = carried_columns(job.config, source.schema.names)
    fields = [field for field in source.schema if carried is None or field.name in carried]
    for name, why in unwritable(pa.schema(fields)):
        yield Mistake(
            f"the output cannot hold the column {name!r} of the input: {why}",
            key="output.path",
            suggestion="leave it out of input.columns, cast it to another type, or leave output.path out",
        )
