"""A job file with everything it names opened and checked, before anything is sent or written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pipeline.app.jobs.caching import refuse_unusable_cache
from pipeline.app.jobs.columns import carried_columns, samples_of
from pipeline.app.jobs.inspection import inspect_job
from pipeline.app.jobs.pricing import terms_of
from pipeline.app.jobs.settings import settings_of
from pipeline.app.jobs.sharding import latest_shards
from pipeline.catalogue import Terms
from pipeline.config import Job, JobVariant, Shard, read_job
from pipeline.errors import InvalidJob
from pipeline.plan import Rows
from pipeline.records import JsonObject
from pipeline.sources import rows_of


class OpenJob(Struct, frozen=True):
    """A job that is fit to run: its rows, its variants, and the facts about each model that is asked."""

    job: Job
    rows: Rows
    variants: tuple[JobVariant, ...]
    settings: tuple[JsonObject, ...]
    """Of each variant, what makes finished rows changed when it changes."""
    terms_of_single: Mapping[str, Terms]
    """By model, in the order of the variants, for requests that are sent one by one."""
    terms: Mapping[str, Terms]
    """What this job pays, by model: a part of the price where it buys by batches."""

    def in_shard(self, shard: Shard) -> OpenJob:
        """Return a part of this job, as it would be opened by itself."""
        rows, job = self.rows, self.job.in_shard(shard)
        source = rows_of(shard, rows.source, rows.id_columns, job.checkpoint_path)
        return replace(self, job=job, rows=replace(rows, source=source))


def load_job(path: str | Path | JsonObject, overrides: Sequence[str] = (), *, table: Any = None) -> Job:
    """Read a job. Where it has mistakes, what can still be looked at is, so that all show in one go. Takes the
    arguments of `pipeline.config.read_job`.

    Raises:
        InvalidJob: with every mistake, those of the input and the templates included.
    """
    job, mistakes = read_job(path, overrides, table=table)
    if job is not None and mistakes:
        raise InvalidJob(inspect_job(job, os.environ, known=mistakes).mistakes)
    if job is None:
        raise InvalidJob(mistakes)
    return job


def open_job(job: Job, environ: Mapping[str, str] | None = None, *, for_sending: bool = True) -> OpenJob:
    """Open and check everything that a job names; sends and writes nothing.

    Args:
        for_sending: check also what only sending needs: the key, and that what a run writes can be written.

    Raises:
        InvalidJob: with every mistake that could be found.
        CheckpointFailed: the job is right, but its cache cannot be used.
    """
    found = inspect_job(job, os.environ if environ is None else environ, for_sending=for_sending)
    if found.mistakes or found.source is None or not found.asked:
        raise InvalidJob(found.mistakes)
    config, named = job.config, found.variants
    if for_sending and config.cache is not None:
        refuse_unusable_cache(Path(config.cache.path))
    rows = Rows(
        found.source,
        config.input.id_columns,
        found.asked,
        samples_of(config),
        carried_columns(config, found.source.schema.names),
        found.expected,
        config.output.raw_reply,
        config.deduplicate,
        config.cache is not None,
    )
    settings = tuple(settings_of(variant.config, found.expected) for variant in named)
    single = {one.config.endpoint.model: terms_of(one.config) for one in named}
    batch = config.endpoint.batch
    terms = single if batch is None else {model: one.times(batch.price_factor) for model, one in single.items()}
    return OpenJob(job, rows, named, settings, single, terms)


def in_shards(opened: OpenJob) -> list[OpenJob]:
    """Return the shards of a job's latest division; the job itself where it was not divided."""
    shards = [part.shard for part in latest_shards(opened.job)]
    return [opened.in_shard(shard) for shard in shards if shard is not None] or [opened]
