"""What the journal records of a row at an event: the attempt, its charge, and the row's totals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from pipeline.catalogue import as_column
from pipeline.records import JsonObject


class Outcome(NamedTuple):
    """The record of one event. None means unknown, or not applicable.

    The attempt: `started_at` and `finished_at` are Unix seconds; `latency_seconds` is the time between them by a
    monotonic clock. `tokens` counts against the rates, and is None if the event itself sent nothing. `billed_usd` is
    the exact charge, `possibly_billed` the maximum that may have been charged (USD). `in_doubt` tells that an amount
    may have been charged that the reply does not tell. `price` holds USD per million input and output tokens, the date
    of the price, and USD per million cached input tokens if there is such a price.

    The row: `attempts`, `failed_runs` and `cost` (USD, exact) count everything so far. An adoption reuses the answer of
    event number `source`. A row that keeps that answer until a longer one arrives has `kept_as`, the state of events
    that keep it, and `stood_for`, the hashes of the requests that it answers. `accepted` marks a failure that the user
    has accepted. If the job says what answers have to be, `answer_attempts` counts the answers so far, `response` is
    the last one even if it is invalid, and `objection` says what is wrong with it unless it was truncated. `raw_reply`
    is the last reply as it came, if the job keeps it.

    The fields before `usage` are output columns, in this order and with these types; a new column is added here. It is
    a tuple, because one is made for every request and read for every row of a report.
    """

    response: str | None = None
    response_type: str | None = None
    tool_calls: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost: Decimal | None = None
    truncated: bool | None = None
    finish_reason: str | None = None
    reasoning: str | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    attempts: int = 0
    error_kind: str | None = None
    error_message: str | None = None
    http_status: int | None = None
    served_model: str | None = None
    latency_seconds: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    usage: str | None = None
    tokens: int | None = None
    billed_usd: Decimal | None = None
    possibly_billed: Decimal | None = None
    in_doubt: bool = False
    price: tuple[str, str, str | None, str | None] | None = None
    failed_runs: int = 0
    accepted: bool = False
    source: int = 0
    kept_as: int | None = None
    stood_for: tuple[str, ...] = ()
    answer_attempts: int = 0
    objection: str | None = None
    raw_reply: str | None = None
    shared_from: str | None = None
    saved_usd: Decimal | None = None

    @property
    def cost_usd(self) -> Decimal | None:
        """Return the row's cost as the output shows it; None if it is unknown or does not fit the column."""
        return None if self.cost is None else as_column(self.cost)


PUBLISHED = Outcome._fields[: Outcome._fields.index("usage")]
"""The fields that are columns of the output, in its order; `cost` is named `cost_usd` there."""

_NAMES = frozenset(Outcome._fields)
_AMOUNTS = ("billed_usd", "possibly_billed", "saved_usd")
_ALWAYS_WRITTEN = ("attempts", "failed_runs")
NOTHING = Outcome()
"""The history of a row that was never sent."""
_FACTS_OF_NOTHING: JsonObject = {"attempts": 0, "failed_runs": 0}

_FIELDS = [
    (name, Any, msgspec.UNSET if name in _ALWAYS_WRITTEN else default)
    for name, default in Outcome._field_defaults.items()
]
_Facts = msgspec.defstruct(
    "_Facts", [*_FIELDS, ("cost_usd", Any, None), ("exact_cost_usd", Any, None)], omit_defaults=True
)
"""An outcome as it is stored: without what is not known. A struct takes less than half of a dictionary's time to write.
"""


def encode(outcome: Outcome) -> JsonObject:
    """Return the outcome as a JSON object. Output columns have the names that they have in the output."""
    facts: JsonObject = msgspec.to_builtins(facts_of(outcome))
    return facts


def facts_of(outcome: Outcome) -> object:
    """Return the same as a value that msgspec writes in less time."""
    if outcome == NOTHING:  # the history in the claim of every first request
        return _FACTS_OF_NOTHING
    facts: Any = _Facts(*outcome)
    if (cost := outcome.cost) is not None:
        shown = as_column(cost)
        facts.cost, facts.cost_usd = None, shown
        if shown != cost:
            facts.exact_cost_usd = cost
    return facts


def decode(facts: JsonObject) -> Outcome:
    """Return the outcome of a JSON object, whichever version of the program wrote it."""
    if facts == _FACTS_OF_NOTHING:
        return NOTHING
    known = {name: value for name, value in facts.items() if name in _NAMES}
    cost = facts.get("exact_cost_usd", facts.get("cost_usd"))
    if cost is not None:
        known["cost"] = Decimal(cost)
    for name in _AMOUNTS:
        if (amount := known.get(name)) is not None:
            known[name] = Decimal(amount)
    if (stood_for := known.get("stood_for")) is not None:
        known["stood_for"] = tuple(stood_for)
    if (price := known.get("price")) is not None:  # earlier versions knew no price of cached tokens
        known["price"] = (*price, None)[:4]
    return Outcome(**known)
