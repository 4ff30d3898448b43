"""`cache`: answers that several jobs have in common."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.paths import WrittenPath
from pipeline.config.models.section import Section
from pipeline.config.models.values import Positive


class CacheConfig(Section):
    """Answers to the same request from any job that names this cache. They cost nothing."""

    path: WrittenPath = Field(
        description="The cache's file, which many jobs may use at once; made where it is not there.",
        examples=[".cache/answers"],
    )
    ttl_days: Positive | None = Field(
        default=None, description="Answers that are older are bought again; without it, none is.", examples=[30]
    )
