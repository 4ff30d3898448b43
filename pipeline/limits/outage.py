"""A circuit breaker for the whole endpoint: while it is down, only one probe at a time is sent, and no row loses an
attempt.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from msgspec import Struct

from pipeline.wording import lasting

FAILURES_THAT_MEAN_OUTAGE = 5
FAILURES_THAT_TELL = 2
"""One failure now and then is the usual way of things."""


class Trouble(Struct, frozen=True):
    """Why no usable reply comes in: the last failure, and how many there were in a row. Times are in seconds."""

    cause: str
    failures: int
    lasts: float
    gives_up_in: float

    def sentence(self, where: str) -> str:
        """Return it in words; `where` names the endpoint."""
        return (
            f"no usable reply from {where} for {self.lasts:.0f} s: {self.failures:,} failures in a row, the last one:"
            f" {self.cause}; the run gives up in {lasting(self.gives_up_in)} (retry.max_elapsed_seconds)"
        )


class Outage:
    """A circuit breaker for the whole job. Times are monotonic seconds.

    It opens after five failures in a row without a usable reply between them. While it is open, one request at a time
    probes the endpoint, at intervals that grow as those of a retry.
    """

    def __init__(self, *, backoff: Callable[[int], float], most_seconds: float) -> None:
        self._backoff = backoff
        self._most_seconds = most_seconds
        self._failures = 0
        self._since: float | None = None
        self._probes = 0
        self._in_a_row = 0
        self._cause = ""
        self._held_at: float | None = None
        self.next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the endpoint is considered down."""
        return self._failures >= FAILURES_THAT_MEAN_OUTAGE

    def failed(self, now: float, *, counts: bool, resumes_at: float = -math.inf, cause: str = "") -> None:
        """Count an attempt that failed for a passing cause; `cause` describes it in words fit for a log.

        Only failures that count open the breaker. The first failure of all starts the time after which the run gives
        up, once the pause that the endpoint asked for is over.
        """
        if self._since is None:
            self._since = max(now, resumes_at)
        self._in_a_row += 1
        self._cause = cause
        self._failures += counts
        # Requests in flight when the breaker opened fail before the next probe is due, and say nothing new.
        if self.is_open and now >= self.next_probe:
            self._probes += 1
            self.next_probe = now + self._backoff(self._probes)

    def usable(self) -> bool:
        """Count a usable reply. Returns whether it ended an outage."""
        ended = self.is_open
        self._failures = self._probes = self._in_a_row = 0
        self._since = None
        self.next_probe = 0.0
        return ended

    def hold(self, now: float) -> None:
        """Stop counting the time: nothing is sent from now on."""
        self._held_at = now

    def go_on(self, now: float) -> None:
        """Count the time again."""
        if self._since is not None and self._held_at is not None:
            self._since += now - max(self._held_at, self._since)
        self._held_at = None

    def gives_up_at(self) -> float | None:
        """Return when the run stops, unless a usable reply comes before; None while nothing fails."""
        return None if self._since is None or self._held_at is not None else self._since + self._most_seconds

    def trouble(self, now: float) -> Trouble | None:
        """Return why no usable reply comes in, from the second failure in a row on."""
        if self._since is None or self._in_a_row < FAILURES_THAT_TELL:
            return None
        left = self._since + self._most_seconds - now
        return Trouble(self._cause, self._in_a_row, max(0.0, now - self._since), max(0.0, left))

    @property
    def last_failure(self) -> str:
        """How many failures in a row there were, and the cause of the last one."""
        count = "the one attempt failed" if self._in_a_row == 1 else f"the last of {self._in_a_row:,} failures in a row"
        return f"{count}: {self._cause}"
