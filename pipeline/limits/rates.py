"""Requests and tokens per minute, exact over every sliding minute."""

from __future__ import annotations

import math
from collections import deque

MINUTE = 60.0
# What was admitted reaches the endpoint a little later, and not always equally late: a window that is longer by this
# much keeps the endpoint's own count below the limit too. It costs 0.4% of the rate.
_TRANSIT_SECONDS = 0.25
_BURST_SHARE = 0.05
# Who waits for as long as `wait` says must be let in then, however the sum of the times is rounded.
_ROUNDING_SECONDS = 1e-6


class SlidingWindow:
    """At most `per_minute` units over any minute, evenly spread but for a burst of a twentieth of them.

    Below one unit a minute the window grows instead: 0.5 is one unit in two minutes. A single amount above the whole
    capacity counts as all of it. Times are monotonic seconds.
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
        """Seconds until `amount` fits; 0 where it fits now. Never longer than a whole window."""
        amount = min(amount, self.capacity)
        self._forget(now)
        # Amounts that turn out larger than was reserved push this on, but a window later they no longer count.
        self._spread_until = min(self._spread_until, now + self._window)
        spread = self._spread_until - now - max(0.0, self._burst - amount) / self._per_second
        wait = max(spread, self._until_free(self._used + amount - self.capacity, now))
        return wait if wait > _ROUNDING_SECONDS else 0.0

    def take(self, amount: float, now: float) -> list[float]:
        """Enter `amount`; the entry is handed to `settle` once the true amount is known."""
        entry = [now, 0.0]
        self._entries.append(entry)
        self._spread_until = max(self._spread_until, now)
        self.settle(entry, amount)
        return entry

    def settle(self, entry: list[float], amount: float) -> None:
        """Put the true amount in the place of the one that was reserved."""
        amount = min(amount, self.capacity)
        difference = amount - entry[1]
        entry[1] = amount
        if self._entries and entry[0] >= self._entries[0][0]:
            self._used += difference
            self._spread_until += difference / self._per_second

    def remember(self, amount: float, age: float, now: float) -> None:
        """Enter what an earlier run sent `age` seconds ago; oldest first, before anything is taken."""
        if 0 <= age < self._window:
            amount = min(amount, self.capacity)
            self._entries.append([now - age, amount])
            self._used += amount

    def _until_free(self, excess: float, now: float) -> float:
        """Seconds until entries that make up for `excess` units are older than the window."""
        wait = 0.0
        for entered, amount in self._entries:
            if excess <= 0:
                break
            excess -= amount
            wait = entered + self._window - now
        return wait

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0][0] + self._window <= now + _ROUNDING_SECONDS:
            self._used -= self._entries.popleft()[1]
        if not self._entries:
            self._used = 0.0
