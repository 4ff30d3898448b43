"""What is known of a job in shards: the figures of all of them, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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

    @property
    def is_done(self) -> bool:
        """Whether each of its rows has an outcome."""
        return self.state in ("succeeded", "failed_rows")

    def as_json(self) -> JsonObject:
        """Return what `--json` prints of it."""
        return {"shard": self.shard.number, "rows": self.rows, "pending": self.pending, "state": self.state}


def together(job: str, summaries: Sequence[Summary], *, so_far: bool = False) -> Summary:
    """Return the figures of all shards of a job. One that a shard does not know is unknown; `so_far` adds up what is
    known, but not how many rows are pending.
    """
    found: dict[str, Any] = {name: _sum(_known(name, summaries, so_far)) for name in _ADDED}
    found |= {name: _counts(_known(name, summaries, so_far)) for name in _COUNTED}
    states = {one.status for one in summaries}
    status = next((word for word in _WORST_FIRST if word in states), "partial")
    if status == "not_started" and len(states) > 1:
        status = "partial"
    return replace(Summary(job=job, status=status), **found)


def _known(name: str, summaries: Sequence[Summary], so_far: bool) -> list[Any]:
    """Return a figure of each shard; nothing where the figure of all cannot be told."""
    values = [getattr(one, name) for one in summaries]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) or (so_far and name != "pending") else []


def _sum(known: Sequence[_Amount]) -> _Amount | None:
    return reduce(add, known) if known else None


def _counts(known: Sequence[Mapping[str, int]]) -> dict[str, int] | None:
    return dict(sum(map(Counter, known), Counter[str]())) if known else None
