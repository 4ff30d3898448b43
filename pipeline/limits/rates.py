"""Requests and tokens per minute, exact over every sliding minute."""

from __future__ import annotations

import math
from collections import deque

from msgspec import Struct

MINUTE = 60.0
TRANSIT_SECONDS = 0.25
"""What is sent reaches the endpoint a little later, and not always equally late: a window that is longer by this much
keeps the endpoint's own count below the limit too. It costs 0.4% of the rate."""

SEND_WITHIN_SECONDS = 2.0
"""How long a request that was let in may take until its first byte goes out; one that takes longer is let in again."""

_SLOWEST = 1e-9
"""Units a minute: one in two thousand years. Its inverse, and that in seconds, are still numbers."""

BURST_SHARE = 0.05
# A caller that waits as long as `wait` says must be let in then, however the sum of the times is rounded.
ROUNDING_SECONDS = 1e-6


class Entry(Struct):
    """An amount in a window, and when it was let in. `sent_at` is the latest moment at which it can have been sent."""

    let_in_at: float
    sent_at: float
    amount: float
    counts: bool = True


def window_seconds(per_minute: float) -> float:
    """Return how long an amount counts against a rate: a minute, or the time of one unit if that is longer."""
    return MINUTE * max(1.0, 1 / max(per_minute, _SLOWEST)) + TRANSIT_SECONDS


class Rate(Struct, frozen=True):
    """At most `capacity` units over any `window` (seconds), evenly spread except for a burst of a twentieth of them."""

    capacity: int
    window: float

    @classmethod
    def of(cls, per_minute: float) -> Rate:
        """Return the rate of so many units per minute. Below one the window grows instead: 0.5 is one unit in two
        minutes.
        """
        return cls(max(1, math.floor(per_minute)), window_seconds(per_minute))

    @property
    def per_second(self) -> float:
        """Units per second when they are spread."""
        return self.capacity / self.window

    @property
    def burst(self) -> float:
        """Units that may go out at once."""
        return max(1.0, self.capacity * BURST_SHARE)


class SlidingWindow:
    """At most `per_minute` units over any minute, evenly spread except for a burst of a twentieth of them.

    Below one unit per minute the window grows instead: 0.5 is one unit in two minutes. A single amount above the whole
    capacity counts as the whole capacity. Times are monotonic seconds.
    """

    def __init__(self, per_minute: float) -> None:
        self._entries: deque[Entry] = deque()
        self._used = 0.0
        self._spread_until = -math.inf
        self._hold(per_minute)

    def set_rate(self, per_minute: float, now: float) -> None:
        """Change the rate. What was let in counts as before; what is spread is spread at the new rate."""
        ahead = max(0.0, self._spread_until - now) * self._per_second
        self._hold(per_minute)
        self._spread_until = now + ahead / self._per_second

    def _hold(self, per_minute: float) -> None:
        self.capacity = max(1, math.floor(per_minute))
        self._window = window_seconds(per_minute)
        self._per_second = self.capacity / self._window
        self._burst = max(1.0, self.capacity * BURST_SHARE)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` fits; 0 if it fits now. Never longer than a whole window."""
        amount = min(amount, self.capacity)
        self._forget(now)
        # Amounts larger than their reservation extend this, but after a window they no longer count.
        self._spread_until = min(self._spread_until, now + self._window)
        spread = self._spread_until - now - max(0.0, self._burst - amount) / self._per_second
        wait = max(spread, self._until_free(self._used + amount - self.capacity, now))
        return wait if wait > ROUNDING_SECONDS else 0.0

    def take(self, amount: float, now: float, send_by: float | None = None) -> Entry:
        """Let `amount` in. Its entry is passed to `settle` once the sent amount and its time are known.

        Until then it counts as sent at the latest possible moment.
        """
        entry = Entry(now, now if send_by is None else send_by, 0.0)
        self._entries.append(entry)
        self._spread_until = max(self._spread_until, now)
        self._put(entry, amount)
        return entry

    def settle(self, entry: Entry, amount: float, sent_at: float | None = None) -> None:
        """Replace a reserved amount by the actual one, and set the time when it was sent."""
        if entry.counts:
            entry.sent_at = entry.sent_at if sent_at is None else max(entry.let_in_at, sent_at)
            self._put(entry, amount)

    def remember(self, amount: float, age: float, now: float) -> None:
        """Add what an earlier run sent `age` seconds ago; oldest first, before anything is taken."""
        if 0 <= age < self._window:
            amount = min(amount, self.capacity)
            self._entries.append(Entry(now - age, now - age, amount))
            self._used += amount

    def _put(self, entry: Entry, amount: float) -> None:
        amount = min(amount, self.capacity)
        self._used += amount - entry.amount
        self._spread_until += (amount - entry.amount) / self._per_second
        entry.amount = amount

    def _until_free(self, excess: float, now: float) -> float:
        """Return the seconds until entries of at least `excess` units are older than the window."""
        wait = 0.0
        for entry in self._entries:
            if excess <= 0:
                break
            excess -= entry.amount
            wait = max(wait, entry.sent_at + self._window - now)
        return wait

    def _forget(self, now: float) -> None:
        # In the order of admission: one that was sent late delays the expiry of the next ones slightly.
        while self._entries and self._entries[0].sent_at + self._window <= now + ROUNDING_SECONDS:
            entry = self._entries.popleft()
            entry.counts = False
            self._used -= entry.amount
        if not self._entries:
            self._used = 0.0
