"""What is known of a line when its answer comes: its price, and the bound on the answer."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from pipeline.catalogue import Price, Terms
from pipeline.journal.batches import OpenBatch
from pipeline.records import JsonObject


class LinePrices:
    """The prices of lines: what their model costs by the `terms` of single requests, times the part that is billed.

    Where these name no price, as after the model has left the job, it is the price at which the batch was bought.
    """

    def __init__(self, terms: Mapping[str, Terms]) -> None:
        self._terms = terms
        self._found: dict[tuple[str, str], Price | None] = {}

    def of_single(self, model: str) -> Price | None:
        """Return what a single request to a model is billed at now; None where that is not known."""
        return self._terms[model].price if model in self._terms else None

    def of_line(self, model: str, batch: OpenBatch) -> Price | None:
        """Return what a line of a batch is billed at; None where that is not known."""
        key = model, batch.key
        if key not in self._found:
            price = self.of_single(model) or (batch.price and Price.of(batch.price))
            self._found[key] = None if price is None else price.times(Decimal(batch.price_factor))
        return self._found[key]


def max_tokens_under(settings: JsonObject) -> int | None:
    """Return max_tokens, if it is one for all rows."""
    value = settings["parameters"].get("max_tokens")
    return value if isinstance(value, int) and value >= 1 else None
