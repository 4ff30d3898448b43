"""Checks of `limits` against what they bound: answers, costs, and what jobs send together."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.checks.findings import Finding, path
from pipeline.config.checks.pricing import has_price
from pipeline.config.models import JobConfig, LimitsConfig

_KIND, _PRICING, _CATALOGUE = path("endpoint.kind"), path("pricing"), path("catalogue")


def check_limits(config: JobConfig) -> Iterator[Finding]:
    """Yield what is wrong with the rates and caps of a job."""
    yield from _check_tokens(config)
    yield from _check_shared(config.limits)
    yield from _check_caps(config)


def _check_tokens(config: JobConfig) -> Iterator[Finding]:
    most, rate = config.parameters.max_tokens, config.limits.tokens_per_minute
    if isinstance(most, int) and rate is not None and most > rate:
        hint = f"lower it, or raise `limits.tokens_per_minute` to at least {most:,}"
        message = f"one answer may take more tokens than `limits.tokens_per_minute` allows, {rate:,g}"
        yield Finding(path("parameters.max_tokens"), message, hint, (path("limits.tokens_per_minute"),))


def _check_shared(limits: LimitsConfig) -> Iterator[Finding]:
    if limits.shared is not None and limits.requests_per_minute is None and limits.tokens_per_minute is None:
        rates = (path("limits.requests_per_minute"), path("limits.tokens_per_minute"))
        hint = "set `limits.requests_per_minute` or `limits.tokens_per_minute` to what all of them may send together"
        yield Finding(path("limits.shared"), "there is no rate that the jobs could share", hint, rates)


def _check_caps(config: JobConfig) -> Iterator[Finding]:
    # Where the model itself is unknown, that is said already.
    is_said = config.endpoint.provider.lists_models
    for name in ("max_cost_usd", "max_run_cost_usd"):
        if getattr(config.limits, name) is None:
            continue
        cap = ("limits", name)
        if config.parameters.max_tokens is None and not config.input.has_bodies:
            hint = "set `parameters.max_tokens`, so that requests in flight have a worst-case cost"
            yield Finding(cap, "a cap on cost needs `parameters.max_tokens`", hint, (path("parameters.max_tokens"),))
        if not has_price(config) and not is_said:
            own = "{input_usd_per_million: …, output_usd_per_million: …}"
            hint = f"add `pricing: {own}`"
            if config.sweep is not None:
                hint = f'add `pricing: {{by_model: {{"{config.endpoint.model}": {own}}}}}`'
            message = "a cap on cost needs the model's price, which the catalogue does not have"
            yield Finding(cap, message, hint, (_PRICING, _KIND, _CATALOGUE))
