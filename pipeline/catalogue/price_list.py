"""Prices of other providers, from the list that the package `genai-prices` carries. Nothing is downloaded.

A model is found by exactly its name, or one that the list gives as another name of it. The list also has patterns, such
as "begins with gpt-4o"; they would price a model that nobody has looked up, so they do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

from pipeline.catalogue.costs import Price

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, ModelPrice, Provider

EXTRA = "prices"


class NotListed(Exception):
    """There is no usable price; `names` are those that the list has in its place."""

    def __init__(self, message: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.names = names


class ListedModel(Struct, frozen=True):
    """A model of the list: its price, or why a single pair of prices cannot describe it."""

    name: str
    price: Price | None
    reason: str | None


def list_version() -> str:
    """Return the name and version of the installed list. Raises NotListed without one."""
    from importlib.metadata import version

    _providers()
    return f"genai-prices {version('genai-prices')}"


def listed_price(provider: str, model: str, today: date) -> Price:
    """Return a model's price on a day (UTC). Raises NotListed, with the provider's or the list's names."""
    found = _provider(provider)
    known = next((known for known in found.models if model in _names(known)), None)
    if known is None:
        names = tuple(name for other in found.models for name in _names(other))
        raise NotListed(f"{list_version()} has no {model!r} among the models of {provider}", names)
    listed = _listed(known, today)
    if listed.price is None:
        raise NotListed(f"{list_version()} has no plain price for {model!r}: {listed.reason}")
    return listed.price


def listed_models(provider: str, today: date) -> tuple[ListedModel, ...]:
    """Return a provider's models with their prices on a day (UTC). Raises NotListed, with the providers' names."""
    return tuple(_listed(model, today) for model in _provider(provider).models)


def _provider(name: str) -> Provider:
    providers = _providers()
    if name not in providers:
        raise NotListed(f"{list_version()} has no provider {name!r}", tuple(providers))
    return providers[name]


@cache
def _providers() -> Mapping[str, Provider]:
    try:
        from genai_prices.data import providers
    except ImportError:
        raise NotListed(
            f"the price list is not installed: `pip install 'llm-batch-pipeline[{EXTRA}]'` brings it"
        ) from None
    return {provider.id: provider for provider in providers}


def _names(model: ModelInfo) -> tuple[str, ...]:
    return tuple(dict.fromkeys([model.id, *_equals(model.match)]))


def _equals(rule: MatchLogic) -> Iterator[str]:
    from genai_prices.types import ClauseEquals, ClauseOr

    if isinstance(rule, ClauseEquals):
        yield rule.equals
    elif isinstance(rule, ClauseOr):
        for part in rule.or_:
            yield from _equals(part)


def _listed(model: ModelInfo, today: date) -> ListedModel:
    prices = _prices_on(model, today)
    if isinstance(prices, str):
        return ListedModel(model.id, None, prices)
    cached = prices.cache_read_mtok
    if not isinstance(prices.input_mtok, Decimal) or not isinstance(prices.output_mtok, Decimal):
        is_tiered = prices.input_mtok is not None and prices.output_mtok is not None
        reason = "it depends on the length of the prompt" if is_tiered else "it is not by prompt and completion tokens"
        return ListedModel(model.id, None, reason)
    if prices.requests_kcount is not None:
        return ListedModel(model.id, None, "each request costs something by itself")
    if cached is not None and not isinstance(cached, Decimal):
        return ListedModel(model.id, None, "it depends on the length of the prompt")
    return ListedModel(model.id, Price(prices.input_mtok, prices.output_mtok, _as_of(today), cached), None)


def _prices_on(model: ModelInfo, today: date) -> ModelPrice | str:
    """Return the prices that hold on a day, or why no single ones do."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TimeOfDateConstraint

    if isinstance(model.prices, ModelPrice):
        return model.prices
    if any(isinstance(option.constraint, TimeOfDateConstraint) for option in model.prices):
        return "it changes with the time of day"
    for option in reversed(model.prices):
        rule = option.constraint
        if rule is None or (isinstance(rule, StartDateConstraint) and rule.start_date <= today):
            return option.prices
    return model.prices[0].prices


@cache
def _as_of(today: date) -> str | None:
    """Return the newest day that the list names, up to today. It bears no date of its own; it is no older than this."""
    from genai_prices.types import StartDateConstraint

    days = [
        option.constraint.start_date
        for provider in _providers().values()
        for model in provider.models
        for option in (*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ()))
        if isinstance(option.constraint, StartDateConstraint)
    ]
    newest = max((day for day in days if day <= today), default=None)
    return None if newest is None else newest.isoformat()
