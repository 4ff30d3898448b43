"""The runs of a job in a report: what each has sent and cost, by the moment its requests began."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

from pipeline.journal import Outcome

MOST_RUNS = 10
"""Runs that a table shows at most."""


class RunFigures(Struct):
    """One run: when it began and when its last reply came (Unix seconds, None where not known), the requests that it
    sent, and what they are known to have cost in USD, None if there are answers and nothing is known.
    """

    run_id: str
    started: float | None
    last_reply: float | None = None
    answers: int = 0
    failed_requests: int = 0
    _cost: Decimal | None = None

    def add_cost(self, cost: Decimal | None) -> None:
        """Take in what a request cost, None if that is not known."""
        if cost is not None:
            self._cost = (self._cost or Decimal(0)) + cost

    @property
    def cost_usd(self) -> Decimal | None:
        """Return what is known of the cost."""
        return Decimal(0) if self._cost is None and not self.answers else self._cost

    @property
    def requests(self) -> int:
        """How many requests the run has sent."""
        return self.answers + self.failed_requests


class RunTable:
    """The last runs of a job. Runs never overlap, so a request belongs to the last run that began before it, to the
    second, which is what a run's id tells.
    """

    def __init__(self, run_ids: Sequence[str] = ()) -> None:
        self.rows = [RunFigures(run_id, _started(run_id)) for run_id in run_ids[-MOST_RUNS:]]
        """The runs, the oldest first."""
        self._known = [one for one in self.rows if one.started is not None]
        self._starts = sorted(one.started for one in self._known if one.started is not None)

    def add(self, record: Outcome) -> None:
        """Take in a request that was sent, by the record of its end."""
        index = bisect_right(self._starts, record.started_at or 0.0) - 1
        if index < 0:
            return
        run = self._known[index]
        if record.error_kind is not None:
            run.failed_requests += 1
        else:
            run.answers += 1
        run.add_cost(record.billed_usd)
        run.last_reply = max(filter(None, (run.last_reply, record.finished_at)), default=None)


def _started(run_id: str) -> float | None:
    """Return when a run began, by its id (`20251125T120000Z-abcdef`); None where it is no such id."""
    with suppress(ValueError):
        return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return None
