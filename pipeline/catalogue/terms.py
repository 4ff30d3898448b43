"""What bounds the cost of a model's requests."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from pipeline.catalogue.costs import Price
from pipeline.catalogue.facts import ChatTemplate


class Terms(Struct, frozen=True):
    """A model's price, the tokens that it can take, and what its chat template adds; each None if not known."""

    price: Price | None
    context_window: int | None = None
    chat_template: ChatTemplate | None = None

    def times(self, factor: Decimal) -> Terms:
        """Return the terms where tokens cost a part of the price, as in a batch."""
        return self if self.price is None else replace(self, price=self.price.times(factor))


def known_prices(terms: Mapping[str, Terms]) -> list[Price]:
    """Return the prices that are known, of the terms by model."""
    return [one.price for one in terms.values() if one.price is not None]


def unpriced_models(terms: Mapping[str, Terms]) -> list[str]:
    """Return the models of which no price is known, of the terms by model."""
    return [model for model, one in terms.items() if one.price is None]
