"""The division of a job's limits among its shards, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from pipeline.app.jobs.pricing import price_of
from pipeline.config import CAPS, RATES, Job, JobConfig, Shard, variants
from pipeline.errors import Mistake
from pipeline.wording import money

_MILLION = 1_000_000
_LEAST_CAP = Decimal(10) ** -12


def division_mistakes(job: Job) -> Iterator[Mistake]:
    """Yield each limit of which a shard's share is less than one request."""
    shard, limits = job.shard, job.whole.config.limits
    if shard is None:
        return
    last = Shard(shard.count, shard.count).limits(limits)
    least = _least_request(job.config)
    for name in (*RATES, *CAPS):
        share, needed = getattr(last, name), least[name]
        if share is not None and share < needed:
            whole = _amount(getattr(limits, name))
            yield Mistake(
                f"{whole} divided by {shard.count:,} leaves {_amount(share)}, less than one request",
                key=f"limits.{name}",
                suggestion="raise it, or divide the job into fewer shards",
            )


def _least_request(config: JobConfig) -> dict[str, float | Decimal]:
    """Return what a request takes of each limit at least: where its worst case counts, that of an empty prompt."""
    tokens, usd = [1.0], []
    for variant in variants(config):
        most = variant.config.parameters.max_tokens
        if isinstance(most, int):
            tokens.append(most)
            price = price_of(variant.config)
            if price is not None:
                usd.append(price.output_usd_per_million * most / _MILLION)
    cap = max(min(usd, default=_LEAST_CAP), _LEAST_CAP)
    return {"requests_per_minute": 1.0, "tokens_per_minute": max(tokens), **dict.fromkeys(CAPS, cap)}


def _amount(value: float | Decimal) -> str:
    return f"${money(value)}" if isinstance(value, Decimal) else f"{value:,.15g}"
