"""What the settings under which a line was made tell of it: its price, and the bound on its answer."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.catalogue import Price, Terms
from pipeline.records import JsonObject


def price_under(settings: JsonObject, terms: Mapping[str, Terms]) -> Price | None:
    """Return the price of the settings' model; None where it is not known."""
    model = settings["model"]
    return terms[model].price if model in terms else None


def max_tokens_under(settings: JsonObject) -> int | None:
    """Return max_tokens, if it is one for all rows."""
    value = settings["parameters"].get("max_tokens")
    return value if isinstance(value, int) and value >= 1 else None
