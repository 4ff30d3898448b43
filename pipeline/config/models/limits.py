"""`limits` and `retry`: how fast, how expensive, how long, and how often."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.section import Section
from pipeline.config.models.values import Concurrency, Money, Name, NotNegative, Positive, Processes


class LimitsConfig(Section):
    """Rates, cost and time. A key that is left out and has no default sets no limit."""

    concurrency: Concurrency = Field(
        default=32,
        description="The most requests in flight. auto: found while sending, from a few upward while the server answers"
        " more for it, and back where it only answers later.",
    )
    processes: Processes = Field(
        default="auto",
        description="The processes of a run: 1 does everything in one; of several, one plans and records, and the"
        " others send. auto: as many as are worth it. With --engine ray the others are actors.",
    )
    requests_per_minute: Positive | None = Field(
        default=None, description="The maximum number of requests sent in any minute.", examples=[300]
    )
    tokens_per_minute: Positive | None = Field(
        default=None,
        description="The maximum number of tokens in any minute, prompts and answers together.",
        examples=[200000],
    )
    shared: Name | None = Field(
        default=None,
        description="The name of a limit: all jobs on this machine that give the same name keep these rates together. "
        "Needs requests_per_minute or tokens_per_minute.",
        examples=["my-account"],
    )
    max_cost_usd: Money | None = Field(
        default=None,
        description="The maximum cost of the whole job, over all runs; needs parameters.max_tokens.",
        examples=[50],
    )
    max_run_cost_usd: Money | None = Field(
        default=None, description="The maximum cost of one run; needs parameters.max_tokens.", examples=[5]
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
    wait_for_quota_seconds: NotNegative = Field(
        default=0.0,
        description="How long a run waits for a daily quota, or for a wait that the endpoint asks for beyond "
        "retry.max_elapsed_seconds, instead of ending with exit code 5.",
    )
    drain_seconds: Positive = Field(default=60.0, description="How long a stop waits for the requests in flight.")


class RetryConfig(Section):
    """What happens to a request that failed for a transient cause."""

    max_attempts: int = Field(default=6, ge=1, description="The maximum number of attempts for a row in one run.")
    initial_seconds: Positive = Field(
        default=1.0, description="The wait before the second attempt; it grows from there."
    )
    max_seconds: Positive = Field(default=60.0, description="The longest wait between two attempts.")
    max_elapsed_seconds: Positive = Field(
        default=900.0, description="How long the endpoint may go without a usable reply before the run stops."
    )
    max_runs: int = Field(default=3, ge=0, description="How many later runs send a failed row again.")
