"""The causes that kept more requests from being in flight, and how long each did."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum

from pipeline.endings import LimitedBy
from pipeline.limits import InFlightLimit

_MOST_OF_THE_TIME = 0.5
_NEARLY = 0.95


class Held(Enum):
    """What the next request waits for."""

    SLOT = "slot"
    RATE = "rate"
    ROW = "row"


class Holding:
    """Sums up how long each cause held requests back. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._seconds: defaultdict[Held, float] = defaultdict(float)
        self._cause = Held.ROW
        self._since: float | None = None

    def see(self, cause: Held, now: float) -> None:
        """Record that this cause holds the next request back from now on."""
        if self._since is not None:
            self._seconds[self._cause] += max(0.0, now - self._since)
        self._cause, self._since = cause, now

    def limited_by(self, in_flight: InFlightLimit, room: int) -> LimitedBy:
        """Return the main cause. `room` is how many requests there was room for."""
        whole = sum(self._seconds.values())
        if self._seconds[Held.RATE] > _MOST_OF_THE_TIME * whole:
            return LimitedBy.RATE_LIMIT
        if self._seconds[Held.SLOT] <= _MOST_OF_THE_TIME * whole:
            return LimitedBy.ROWS
        if in_flight.most >= _NEARLY * room:
            return LimitedBy.CAP
        return LimitedBy.SERVER if in_flight.has_found else LimitedBy.ROWS
