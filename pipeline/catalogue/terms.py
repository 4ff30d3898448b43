"""What bounds the cost of a model's requests."""

from __future__ import annotations

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
