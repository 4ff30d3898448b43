"""A job file with everything it names opened and checked, before anything is sent or written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pipeline.app.jobs.caching import refuse_unusable_cache
from pipeline.app.jobs.image_files import image_facts
from pipeline.app.jobs.inspection import carried_columns, inspect_job, needs_max_tokens, samples_of
from pipeline.app.jobs.material import read_variants
from pipeline.app.jobs.pricing import price_of
from pipeline.app.jobs.sharding import latest_shards
from pipeline.catalogue import Price, Terms
from pipeline.config import Job, JobConfig, JobVariant, Shard, read_job, variants
from pipeline.errors import InvalidJob
from pipeline.plan import Rows, Variant
from pipeline.prompts import Trial
from pipeline.records import JsonObject, Row, digest
from pipeline.sources import Source, fingerprint, rows_of

PLAN_VERSION = 3
TRIED_ROWS = 1000
"""Rows whose requests are made before anything is sent, to see whether they can be."""


class OpenJob(Struct, frozen=True):
    """A job that is fit to run: its rows, its variants, and the facts about each model that is asked."""

    job: Job
    rows: Rows
    variants: tuple[JobVariant, ...]
    terms_of_single: Mapping[str, Terms]
    """By model, in the order of the variants, for requests that are sent one by one."""

    @property
    def terms(self) -> Mapping[str, Terms]:
        """What this job pays, by model: a part of the price where it buys by batches."""
        batch = self.job.config.endpoint.batch
        if batch is None:
            return self.terms_of_single
        return {model: one.times(batch.price_factor) for model, one in self.terms_of_single.items()}

    @property
    def settings(self) -> list[JsonObject]:
        """What makes finished rows changed when it changes, for each variant: endpoint kind, model, prompt, parameters,
        extra body, and what the answers have to be.
        """
        return [_settings(variant.config, self.expect) for variant in self.variants]

    @property
    def expect(self) -> JsonObject | None:
        """What the answers have to be, as the settings hold it."""
        return None if self.rows.expected is None else dict(self.rows.expected.facts)

    @property
    def fingerprint(self) -> str:
        """Names the input and the settings: where it is unchanged, so is every row's request."""
        source, images = self.rows.source, self.job.config.prompt.images
        return digest([fingerprint(source), self.rules, *([image_facts(source, images)] if images else [])])

    @property
    def rules(self) -> str:
        """Names the settings and how the input is read: where it is unchanged, the same row makes the same request."""
        config = self.job.config.input
        reading = [config.format, config.id, config.csv.model_dump()]
        if config.where is not None:
            reading.append(config.where)
        if self.job.shard is not None:
            reading.append(str(self.job.shard))
        needed: list[Any] = ["max_tokens"] if needs_max_tokens(self.job.config) else []
        if self.rows.cells > 1 or self.rows.has_variants:
            needed.append({"samples": self.rows.samples, "marks": [variant.mark for variant in self.variants]})
        if self.rows.deduplicate:
            needed.append("deduplicate")
        return digest([PLAN_VERSION, reading, *self.settings, *needed])

    def in_shard(self, shard: Shard) -> OpenJob:
        """Return a part of this job, as it would be opened by itself."""
        rows, job = self.rows, self.job.in_shard(shard)
        source = rows_of(shard, rows.source, rows.id_columns, job.checkpoint_path)
        return replace(self, job=job, rows=replace(rows, source=source))

    @property
    def carried(self) -> Sequence[str] | None:
        """The input columns that the output has; None for all."""
        return self.rows.carried

    @property
    def prices(self) -> list[Price]:
        """The prices that are known."""
        return [terms.price for terms in self.terms.values() if terms.price is not None]

    @property
    def answers(self) -> int:
        """The most answers that a row is asked for."""
        return 1 if self.rows.expected is None else self.rows.expected.attempts

    @property
    def unpriced_models(self) -> list[str]:
        """The models of which no price is known."""
        return [model for model, terms in self.terms.items() if terms.price is None]


def _settings(config: JobConfig, expect: JsonObject | None) -> JsonObject:
    return {
        "endpoint_kind": config.endpoint.kind,
        "model": config.endpoint.model,
        "prompt": config.prompt.model_dump(exclude_none=True, exclude={"constant", "samples"}),
        "parameters": config.parameters.model_dump(exclude_none=True),
        **({"extra_body": config.endpoint.extra_body} if config.endpoint.extra_body else {}),
        **({} if expect is None else {"expect": expect}),
    }


def _terms(config: JobConfig) -> Terms:
    model = config.model_facts
    return Terms(
        price_of(config),
        model.context_window if model else None,
        model.chat_template if model else None,
    )


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
    if for_sending:
        refuse_unusable_cache(job)
    config, (named, _) = job.config, read_variants(job.config)
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
    return OpenJob(job, rows, named, {one.config.endpoint.model: _terms(one.config) for one in named})


def in_shards(opened: OpenJob) -> list[OpenJob]:
    """Return the shards of a job's latest division; the job itself where it was not divided."""
    shards = [part.shard for part in latest_shards(opened.job)]
    return [opened.in_shard(shard) for shard in shards if shard is not None] or [opened]


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
