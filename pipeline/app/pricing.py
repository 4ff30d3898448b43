"""What a job's model costs: the job's own prices, else the catalogue's."""

from __future__ import annotations

from pipeline.catalogue import Model, Price, find_model
from pipeline.config import JobConfig


def price_of(config: JobConfig) -> Price | None:
    """The job's own price, else the catalogue's, whatever the server: `pricing` is there for servers that differ."""
    model, pricing = find_model(config.endpoint.model), config.pricing
    if pricing is not None:
        return Price(
            pricing.input_usd_per_million, pricing.output_usd_per_million, None, pricing.cached_input_usd_per_million
        )
    return list_price(model) if model else None


def list_price(model: Model) -> Price:
    """The price of a model of the catalogue."""
    return Price(model.input_usd_per_million, model.output_usd_per_million, model.priced_on)
