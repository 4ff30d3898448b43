"""What is known of a job in shards: the figures of all of them, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any, TypeVar

from msgspec import Struct

from pipeline.app.observe.summary import Summary
from pipeline.config import Shard
from pipeline.records import JsonObject

_Amount = TypeVar("_Amount", int, Decimal)
_ADDED = (
    "rows",
    "succeeded",
    "failed",
    "pending",
    "truncated",
    "empty",
    "requests",
    "retries",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "job_cost_usd",
    "unpriced_rows",
    "possibly_billed_usd",
    "possibly_billed_requests",
    "over_reserve_usd",
)
_COUNTED = ("failures", "accepted", "to_retry")
_WORST_FIRST = ("running", "stopped", "interrupted", "partial", "not_started", "failed_rows", "succeeded")


class ShardState(Struct, frozen=True):
    """Where a shard stands. `rows` and `pending` are None where nobody has counted them yet."""

    shard: Shard
    rows: int | None
    pending: int | None
    state: str

    @classmethod
    def of(cls, shard: Shard, summary: Summary) -> ShardState:
        """Return where the shard stands by what is known of it."""
        return cls(shard, summary.rows, summary.pending, summary.status)

    def as_json(self) -> JsonObject:
        """Return what `--json` prints of it."""
        return {"shard": self.shard.number, "rows": self.rows, "pending": self.pending, "state": self.state}


def together(job: str, summaries: Sequence[Summary]) -> Summary:
    """Return the figures of all shards of a job. Those that no shard knows stay unknown."""
    found: dict[str, Any] = {name: _sum(getattr(one, name) for one in summaries) for name in _ADDED}
    found |= {name: _counts(getattr(one, name) for one in summaries) for name in _COUNTED}
    states = {one.status for one in summaries}
    status = next((word for word in _WORST_FIRST if word in states), "partial")
    if status == "not_started" and len(states) > 1:
        status = "partial"
    return replace(Summary(job=job, status=status), **found)


def _sum(values: Iterable[_Amount | None]) -> _Amount | None:
    known = [value for value in values if value is not None]
    return reduce(add, known) if known else None


def _counts(values: Iterable[Mapping[str, int] | None]) -> dict[str, int] | None:
    known = [value for value in values if value is not None]
    return dict(sum(map(Counter, known), Counter[str]())) if known else None
