"""Requests and tokens per minute, exact over every sliding minute."""

from __future__ import annotations

import math
from collections import deque

MINUTE = 60.0
# What was admitted reaches the endpoint a little later, and not always equally late: a window that is longer by this
# much keeps the endpoint's own count below the limit too. It costs 0.4% of the rate.
_TRANSIT_SECONDS = 0.25
_BURST_SHARE = 0.05


class SlidingWindow:
    """At most `per_minute` units over any minute, evenly spread but for a burst of a twentieth of them.

    Below one unit a minute the window grows instead: 0.5 is one unit in two minutes. Times are monotonic seconds.
    """

    def __init__(self, per_minute: float) -> None:
        self.capacity = max(1, math.floor(per_minute))
        self._window = MINUTE * max(1.0, 1 / per_minute) + _TRANSIT_SECONDS
        self._per_second = self.capacity / self._window
        self._burst = max(1.0, self.capacity * _BURST_SHARE)
        self._entries: deque[list[float]] = deque()
        self._used = 0.0
        self._spread_until = -math.inf

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` fits; 0 where it fits now. More than the whole capacity counts as all of it."""
        amount = min(amount, self.capacity)
        self._forget(now)
        spread = self._spread_until - now - max(0.0, self._burst - amount) / self._per_second
        excess = self._used + amount - self.capacity
        if excess <= 1e-9:
            return max(0.0, spread)
        for entered, weight in self._entries:
            excess -= weight
            if excess <= 1e-9:
                return max(spread, entered + self._window - now)
        return max(spread, self._window)

    def take(self, amount: float, now: float) -> list[float]:
        """Enter `amount`; the entry is handed to `settle` once the true amount is known."""
        entry = [now, min(amount, self.capacity)]
        self._entries.append(entry)
        self._used += entry[1]
        self._spread_until = max(self._spread_until, now) + entry[1] / self._per_second
        return entry

    def settle(self, entry: list[float], amount: float) -> None:
        """Put the true amount in the place of the one that was reserved."""
        difference = amount - entry[1]
        entry[1] = amount
        if self._entries and entry[0] >= self._entries[0][0]:
            self._used += difference
            self._spread_until += difference / self._per_second

    def remember(self, amount: float, age: float, now: float) -> None:
        """Enter what an earlier run sent `age` seconds ago; oldest first, before anything is taken."""
        if 0 <= age < self._window:
            self._entries.append([now - age, amount])
            self._used += amount

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0][0] + self._window <= now:
            self._used -= self._entries.popleft()[1]
        if not self._entries:
            self._used = 0.0
