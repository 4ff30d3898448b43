"""`pricing`: what tokens cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.models.section import Section
from pipeline.config.models.values import Text, UsdPerMillion


class ModelPricing(Section):
    """The prices of one model. At most 6 decimals."""

    input_usd_per_million: UsdPerMillion = Field(description="USD per million prompt tokens.", examples=[0.32])
    cached_input_usd_per_million: UsdPerMillion | None = Field(
        default=None, description="USD per million prompt tokens that the server had in its cache."
    )
    output_usd_per_million: UsdPerMillion = Field(description="USD per million completion tokens.", examples=[0.34])


class PricingConfig(Section):
    """The user's own prices, or those of a price list; without them, those of the catalogue. At most 6 decimals."""

    input_usd_per_million: UsdPerMillion | None = Field(
        default=None, description="USD per million prompt tokens.", examples=[0.32]
    )
    cached_input_usd_per_million: UsdPerMillion | None = Field(
        default=None,
        description="USD per million prompt tokens that the server had in its cache; without it, as other prompt "
        "tokens.",
        examples=[0.08],
    )
    output_usd_per_million: UsdPerMillion | None = Field(
        default=None, description="USD per million completion tokens.", examples=[0.34]
    )
    from_: Literal["genai-prices"] | None = Field(
        default=None,
        alias="from",
        description="In place of prices: the installed price list to look `endpoint.model` up in, by exactly its name. "
        "It needs the extra `prices` and makes no call.",
        examples=["genai-prices"],
    )
    provider: Text | None = Field(
        default=None,
        description="Whose prices of the list; `pipeline models --prices PROVIDER` shows them.",
        examples=["groq"],
    )
    by_model: Annotated[dict[Text, ModelPricing], Field(min_length=1)] | None = Field(
        default=None,
        description="In place of these, the prices of each model in a sweep over models; one that is not named has the "
        "catalogue's.",
        examples=[{"gpt-4o-mini": {"input_usd_per_million": 0.15, "output_usd_per_million": 0.6}}],
    )
