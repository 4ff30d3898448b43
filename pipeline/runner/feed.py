"""The rows that are to be sent, in input order, made as they are asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from pipeline.journal import Event, Journal, State
from pipeline.plan import TO_SEND, Plan, Rows, Standing, UnsentFailure
from pipeline.records import Request
from pipeline.sources import pick
from pipeline.sources.files import InputFile, check_unchanged
from pipeline.sources.identity import row_values

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True, slots=True)
class History:
    """What came of a row's request before: requests sent, what they are known to have cost (USD), and in how many
    runs the row has failed.
    """

    attempts: int = 0
    cost: Decimal | None = None
    failed_runs: int = 0

    @classmethod
    def of(cls, record: dict[str, Any]) -> History:
        """The history in an event's record."""
        cost = record.get("cost_usd")
        return cls(record.get("attempts", 0), None if cost is None else Decimal(cost), record.get("failed_runs", 0))

    def facts(self) -> dict[str, Any]:
        """The history as it stands in a record."""
        cost = None if self.cost is None else str(self.cost)
        return {"attempts": self.attempts, "cost_usd": cost, "failed_runs": self.failed_runs}


@dataclass(slots=True)
class Work:
    """A row on its way to an outcome. `tries` counts the attempts of this run that count against `retry.max_attempts`,
    `failures` all that failed, `first_failure` is monotonic seconds.
    """

    position: int
    row_id: str
    content: str
    request: Request
    request_hash: str
    history: History
    tries: int = 0
    failures: int = 0
    first_failure: float | None = None
    failure: dict[str, Any] = field(default_factory=dict)


def feed(
    rows: Rows, plan: Plan, journal: Journal, settings: int, standings: Collection[Standing] = TO_SEND,
    only: Sequence[int] | None = None,
) -> Iterator[Work | Event]:  # fmt: skip
    """Every row that is to be sent, by where it stands, with `only` those at these positions; for one that makes no
    request, its failure as an event instead.

    Raises InvalidInput where the input cannot be read any more, or has changed.
    """
    wanted = np.isin(plan.standings(), [int(standing) for standing in standings])
    if only is not None:
        chosen = np.zeros_like(wanted)
        chosen[list(only)] = True
        wanted &= chosen
    left = int(wanted.sum())
    if not left:
        return
    for start, batch in rows.batches(int(np.argmax(wanted))):
        offsets = np.flatnonzero(wanted[start : start + batch.num_rows])
        if not len(offsets):
            continue
        part = pick(batch, offsets)
        ids, contents = rows.identities(start, part)
        positions = [start + int(offset) for offset in offsets]
        histories = _histories(plan, journal, positions)
        for position, row_id, content, values in zip(
            positions, plan.row_ids(positions, ids), contents, row_values(part), strict=True
        ):
            history = histories.get(position, History())
            request, request_hash = rows.request(values, content)
            if isinstance(request, UnsentFailure):
                record = {**history.facts(), "error_kind": request.kind, "error_message": request.message}
                yield Event(plan.number, position, State.FAILED, row_id, request_hash, settings, content, record)
            else:
                yield Work(position, row_id, content, request, request_hash, history)
        left -= len(positions)
        if not left:
            return


def while_unchanged(
    works: Iterator[Work | Event], files: Sequence[InputFile], clock: Callable[[], float] = time.monotonic
) -> Iterator[Work | Event]:
    """The same rows, as long as the input's files are what they were: looked at once a second, because many rows are
    read at once and sent for a long time.

    Raises InvalidInput where a file has changed.
    """
    looked = -math.inf
    for work in works:
        if clock() - looked >= _SECONDS_BETWEEN_LOOKS:
            for file in files:
                check_unchanged(file)
            looked = clock()
        yield work


def _histories(plan: Plan, journal: Journal, positions: list[int]) -> dict[int, History]:
    asked_before = {
        plan.event(position): position
        for position in positions
        if plan.standing(position) in (Standing.ATTEMPTED, Standing.RETRY)
    }
    found = journal.records(sorted(asked_before))
    return {asked_before[entry[0]]: History.of(record) for entry, record in found}
