"""Checks of `pricing`: the user's own prices, or a price list that has the model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pipeline.catalogue import NotListed, listed_price
from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import JobConfig, PricingConfig
from pipeline.suggest import did_you_mean, nearest

_FROM, _PROVIDER, _MODEL = path("pricing.from"), path("pricing.provider"), path("endpoint.model")
_BY_MODEL = path("pricing.by_model")
_OWN = ("input_usd_per_million", "output_usd_per_million")
_ALL_OWN = (*_OWN, "cached_input_usd_per_million")


def has_price(config: JobConfig) -> bool:
    """Return whether a price of the job's model is known, or said to be in a list."""
    model, pricing = config.endpoint.model, config.pricing
    if pricing is not None and (pricing.by_model is None or model in pricing.by_model):
        return True
    return config.known_models.find(model) is not None


def check_pricing(config: JobConfig) -> Iterator[Finding]:
    """Return what is wrong with the prices of a job."""
    pricing = config.pricing
    if pricing is None:
        return
    own = [name for name in _ALL_OWN if getattr(pricing, name) is not None]
    if pricing.by_model is not None:
        others = [name for name in (*_ALL_OWN, "provider") if getattr(pricing, name) is not None]
        others += ["from"] if pricing.from_ is not None else []
        for name in others:
            yield Finding(("pricing", name), "`by_model` is set already", "keep one of them", (_BY_MODEL,))
    elif pricing.from_ is None:
        yield from _check_own(pricing)
    elif own:
        message = f"`from: {pricing.from_}` is set already and provides the prices"
        yield Finding(("pricing", own[0]), message, "keep one of them", (_FROM,))
    elif pricing.provider is None:
        hint = "add `provider: groq`, or another of those that `pipeline models --prices PROVIDER` knows"
        yield Finding(_PROVIDER, "required, but missing", hint, (_FROM,))
    else:
        yield from _check_list(config.endpoint.model, pricing.provider)


def _check_own(pricing: PricingConfig) -> Iterator[Finding]:
    if pricing.provider is not None:
        yield Finding(_PROVIDER, "it says whose prices of a list, and no list is named", "add `from: genai-prices`")
        return
    for name, example in zip(_OWN, ("0.32", "0.34"), strict=True):
        if getattr(pricing, name) is None:
            hint = f"add `{name}: {example}` below `pricing:`"
            yield Finding(("pricing", name), "required, but missing", hint, (_FROM,))


def _check_list(model: str, provider: str) -> Iterator[Finding]:
    try:
        listed_price(provider, model, datetime.now(UTC).date())
    except NotListed as error:
        near = nearest(model, error.names) or nearest(provider, error.names)
        hint = did_you_mean([f"`{name}`" for name in near]) or "`pipeline models --prices PROVIDER` shows what it has"
        hint += "; or write `input_usd_per_million` and `output_usd_per_million` in place of `from`"
        yield Finding(_PROVIDER, str(error), hint, (_FROM, _MODEL))
