"""`endpoint.batch`: buying by the provider's Batches API."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, WithJsonSchema

from pipeline.config.models.section import Section
from pipeline.config.models.values import Positive, Text

MOST_LINES = 50_000
"""The most requests that a batch may hold (OpenAI's documentation of the Batch API)."""
_Factor = Annotated[Decimal, Field(gt=0, le=1), WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1})]


class BatchConfig(Section):
    """Rows go out by the provider's Files and Batches API instead of one by one."""

    window: Text = Field(default="24h", description="How long the provider may take for a batch.")
    requests: int = Field(default=MOST_LINES, ge=1, le=MOST_LINES, description="The most rows in one batch.")
    megabytes: Positive = Field(default=200.0, description="The largest file of a batch, in units of 1,000,000 bytes.")
    poll_seconds: Positive = Field(default=60.0, description="How often a batch that is out is looked at.")
    price_factor: _Factor = Field(
        default=Decimal("0.5"),
        description="What a batch costs, as a part of the price of single requests.",
        json_schema_extra={"default": 0.5},
    )
