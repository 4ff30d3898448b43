"""Facts about the models, and what a request costs. Unknown is None, never zero."""

from pipeline.catalogue.costs import (
    NO_EXCESS,
    Bounds,
    Excess,
    Price,
    as_column,
    cost,
    max_prompt_tokens,
    min_prompt_tokens,
    worst_cost,
)
from pipeline.catalogue.facts import (
    Catalogue,
    ChatTemplate,
    Model,
    built_in,
)
from pipeline.catalogue.price_list import ListedModel, NotListed, list_version, listed_models, listed_price
from pipeline.catalogue.terms import Terms, known_prices, unpriced_models

__all__ = [
    "NO_EXCESS",
    "Bounds",
    "Catalogue",
    "ChatTemplate",
    "Excess",
    "ListedModel",
    "Model",
    "NotListed",
    "Price",
    "Terms",
    "as_column",
    "built_in",
    "cost",
    "known_prices",
    "list_version",
    "listed_models",
    "listed_price",
    "max_prompt_tokens",
    "min_prompt_tokens",
    "unpriced_models",
    "worst_cost",
]
