"""`pricing`: prices of one's own."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.section import Section
from pipeline.config.models.values import UsdPerMillion


class PricingConfig(Section):
    """Prices of one's own; without them, those of the catalogue. At most 6 decimals."""

    input_usd_per_million: UsdPerMillion = Field(description="USD per million prompt tokens.", examples=[0.32])
    cached_input_usd_per_million: UsdPerMillion | None = Field(
        default=None,
        description="USD per million prompt tokens that the server had in its cache; without it, as other prompt "
        "tokens.",
        examples=[0.08],
    )
    output_usd_per_million: UsdPerMillion = Field(description="USD per million completion tokens.", examples=[0.34])
