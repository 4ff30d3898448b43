"""What a job's model costs: the job's own prices or those of its price list, else the catalogue's."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.catalogue import Model, Price, Terms, listed_price
from pipeline.config import JobConfig


def terms_of(config: JobConfig) -> Terms:
    """Return the terms of a job's model for requests that are sent one by one."""
    model = config.model_facts
    return Terms(
        price_of(config),
        model.context_window if model else None,
        model.chat_template if model else None,
    )


def price_of(config: JobConfig) -> Price | None:
    """Return a job's price, whatever the server; None where none is known."""
    pricing = config.pricing
    own = pricing.by_model.get(config.endpoint.model) if pricing is not None and pricing.by_model else None
    if own is not None:
        return Price(own.input_usd_per_million, own.output_usd_per_million, None, own.cached_input_usd_per_million)
    if pricing is None or pricing.by_model is not None:
        model = config.known_models.find(config.endpoint.model)
        return list_price(model) if model else None
    if pricing.provider is not None:
        return listed_price(pricing.provider, config.endpoint.model, datetime.now(UTC).date())
    assert pricing.input_usd_per_million is not None and pricing.output_usd_per_million is not None
    return Price(
        pricing.input_usd_per_million, pricing.output_usd_per_million, None, pricing.cached_input_usd_per_million
    )


def list_price(model: Model) -> Price:
    """Return the price of a model of the catalogue."""
    return Price(model.input_usd_per_million, model.output_usd_per_million, model.priced_on)
