"""`simulator`: how the embedded endpoint behaves."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.paths import WrittenPath
from pipeline.config.models.section import Section
from pipeline.config.models.values import NotNegative, Positive


class SimulatorConfig(Section):
    """How the embedded endpoint behaves; only with `endpoint.url: simulator`."""

    latency_seconds: NotNegative = Field(default=0.0, description="The mean latency of an answer.")
    latency_spread: NotNegative = Field(
        default=0.0, description="How much that time varies: the standard deviation of its logarithm."
    )
    fault_rate: float = Field(
        default=0.0, ge=0, le=1, allow_inf_nan=False, description="The share of requests with a fault."
    )
    broken_json_rate: float = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The share of structured answers that are not what was asked for.",
    )
    varies: bool = Field(
        default=False,
        description="Whether a request that is asked again gets another answer, as from a model, unless it has a seed "
        "or the temperature 0.",
    )
    seed: int = Field(default=0, description="Decides which request gets which fault and latency.")
    requests_per_minute: Positive | None = Field(
        default=None, description="The rate beyond which the simulator answers 429.", examples=[600]
    )
    best_concurrency: int | None = Field(
        default=None,
        ge=1,
        description="How many requests the simulator works on at once; those beyond wait their turn, so that more in "
        "flight brings only later answers. It tells both numbers at /metrics, as vLLM does.",
        examples=[64],
    )
    batch_seconds: NotNegative = Field(default=0.0, description="How long a batch takes, from its creation to its end.")
    ledger: WrittenPath | None = Field(
        default=None,
        description="A JSONL file to which the simulator adds what it was asked and what it billed.",
        examples=["sim.jsonl"],
    )
