"""Facts about the models, and what a request costs. Unknown is None, never zero."""

from pipeline.catalogue.costs import (
    NO_EXCESS,
    Excess,
    Price,
    as_column,
    cost,
    excess,
    max_prompt_tokens,
    min_prompt_tokens,
    worst_cost,
)
from pipeline.catalogue.facts import (
    DEFAULT_PARAMETERS,
    OPENAI_PARAMETERS,
    Catalogue,
    ChatTemplate,
    Model,
    ParameterRange,
    ParameterText,
    ParameterValues,
    built_in,
)
from pipeline.catalogue.price_list import ListedModel, NotListed, list_version, listed_models, listed_price
from pipeline.catalogue.terms import Terms

__all__ = [
    "DEFAULT_PARAMETERS",
    "NO_EXCESS",
    "OPENAI_PARAMETERS",
    "Catalogue",
    "ChatTemplate",
    "Excess",
    "ListedModel",
    "Model",
    "NotListed",
    "ParameterRange",
    "ParameterText",
    "ParameterValues",
    "Price",
    "Terms",
    "as_column",
    "built_in",
    "cost",
    "excess",
    "list_version",
    "listed_models",
    "listed_price",
    "max_prompt_tokens",
    "min_prompt_tokens",
    "worst_cost",
]
