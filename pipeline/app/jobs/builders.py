"""The makers of a job's requests, one for each of its variants."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from pipeline.app.jobs.expecting import expected_of
from pipeline.config import Job, JobConfig, JobVariant
from pipeline.errors import InvalidJob, Mistake
from pipeline.plan import Variant
from pipeline.prompts import BodyBuilder, Builder, RequestBuilder, template_mistakes
from pipeline.providers import UNBOUNDED
from pipeline.sources import Source
from pipeline.sources.batch_requests import BODY_COLUMN


def asked_of(job: Job, named: Sequence[JobVariant], source: Source | None) -> tuple[tuple[Variant, ...], list[Mistake]]:
    """Return the ways in which a job asks each row, and what is wrong with any of its variants."""
    is_model_known = not job.is_doubtful("endpoint.kind") and not job.is_doubtful("endpoint.model")
    asked: list[Variant] = []
    mistakes: list[Mistake] = []
    for variant in named:
        builder, found = builder_of(variant.config, source, is_model_known=is_model_known)
        mistakes += [replace(one, key=variant.placed_key(one.key)) for one in found]
        if builder is not None:
            endpoint = variant.config.endpoint
            asked.append(Variant(builder, endpoint.kind, endpoint.model, variant.name, variant.mark))
    return tuple(asked) if len(asked) == len(named) else (), mistakes


def builder_of(
    config: JobConfig, source: Source | None, *, is_model_known: bool = True
) -> tuple[Builder | None, list[Mistake]]:
    """Return the request builder of a job, None if there can be none, and what is wrong with it.

    Args:
        is_model_known: else it is not known which ranges hold; that the columns are there still is.
    """
    expected, _ = expected_of(config)
    telling = expected.telling if expected is not None else None
    if source is None:
        return None, template_mistakes(config.prompt)
    model = config.model_facts
    if config.input.has_bodies:
        return BodyBuilder(
            BODY_COLUMN,
            config.endpoint.model,
            model.context_window if model else None,
            needs_max_tokens=needs_max_tokens(config),
            extra_body=config.endpoint.extra_body,
        ), []
    try:
        return RequestBuilder(
            config.prompt,
            config.parameters,
            config.endpoint.model,
            source.schema.names,
            config.endpoint.provider.ranges(model) if is_model_known else UNBOUNDED,
            model.context_window if model else None,
            needs_max_tokens=needs_max_tokens(config),
            extra_body=config.endpoint.extra_body,
            telling=telling,
        ), []
    except InvalidJob as error:
        return None, list(error.mistakes)


def needs_max_tokens(config: JobConfig) -> bool:
    """Return whether a row without max_tokens could cost any amount, under a cap that has to hold."""
    limits, model = config.limits, config.model_facts
    return model is None and (limits.max_cost_usd is not None or limits.max_run_cost_usd is not None)
