"""`limits` and `retry`: how fast, how dear, how long, and how often."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.section import Section
from pipeline.config.models.values import Money, Name, Positive, Processes


class LimitsConfig(Section):
    """How fast, how dear and how long; no limit where a key is left out and has no default."""

    concurrency: int = Field(default=32, ge=1, le=20_000, description="The most requests in flight.")
    processes: Processes = Field(
        default="auto",
        description="The processes of a run: 1 does everything in one; of several, one plans and records, and the"
        " others send. auto: as many as are worth it.",
    )
    requests_per_minute: Positive | None = Field(
        default=None, description="The most requests sent over any minute.", examples=[300]
    )
    tokens_per_minute: Positive | None = Field(
        default=None, description="The most tokens over any minute, prompts and answers together.", examples=[200000]
    )
    shared: Name | None = Field(
        default=None,
        description="Holds these rates over everything that the jobs of this machine send together which name the same "
        "limit; needs requests_per_minute or tokens_per_minute.",
        examples=["my-account"],
    )
    max_cost_usd: Money | None = Field(
        default=None,
        description="The most the whole job may cost, over all runs; needs parameters.max_tokens.",
        examples=[50],
    )
    max_run_cost_usd: Money | None = Field(
        default=None, description="The most one run may cost; needs parameters.max_tokens.", examples=[5]
    )
    deadline_seconds: Positive | None = Field(default=None, description="How long one run may send.", examples=[7200])
    timeout_seconds: Positive = Field(
        default=300.0, description="How long one attempt may take, from connect to the last byte."
    )
    idle_seconds: Positive | None = Field(
        default=None,
        description="How long an attempt may go without a byte of the reply, from when the request was sent; needs "
        "endpoint.stream.",
        examples=[60],
    )
    drain_seconds: Positive = Field(
        default=60.0, description="How long a stop waits for the requests that are in flight."
    )


class RetryConfig(Section):
    """What happens to a request that failed for a passing cause."""

    max_attempts: int = Field(default=6, ge=1, description="The most attempts for a row in one run.")
    initial_seconds: Positive = Field(
        default=1.0, description="The wait before the second attempt; it grows from there."
    )
    max_seconds: Positive = Field(default=60.0, description="The longest wait between two attempts.")
    max_elapsed_seconds: Positive = Field(
        default=900.0, description="How long the endpoint may go without a usable reply before the run stops."
    )
    max_runs: int = Field(default=3, ge=0, description="How many later runs send a failed row again.")
