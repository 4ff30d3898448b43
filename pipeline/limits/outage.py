"""Whether the endpoint is down: then nothing but a single probe is sent, and no row pays for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.wording import lasting

FAILURES_THAT_MEAN_OUTAGE = 5
FAILURES_THAT_TELL = 2
"""One failure now and then is the usual way of things."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing usable has come in: how the last attempt failed, and how many have in a row. Times in seconds."""

    cause: str
    failures: int
    lasts: float
    gives_up_in: float

    def told(self, where: str) -> str:
        """The same in words; `where` names the endpoint."""
        return (
            f"no usable reply from {where} for {self.lasts:.0f} s: {self.failures:,} failures in a row, the last one:"
            f" {self.cause}; the run gives up in {lasting(self.gives_up_in)} (retry.max_elapsed_seconds)"
        )


class Outage:
    """A breaker over the whole job. Times are monotonic seconds.

    It opens after five failures in a row without a usable reply between them. While it is open, one request at a time
    probes the endpoint, at intervals that grow like a retry's.
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
        """Whether the endpoint is taken to be down."""
        return self._failures >= FAILURES_THAT_MEAN_OUTAGE

    def failed(self, now: float, *, counts: bool, resumes_at: float = -math.inf, cause: str = "") -> None:
        """An attempt failed for a passing cause, which `cause` tells in words fit for a log. Only those that count
        speak for an outage; the first of all starts the time after which the run gives up, once the pause that the
        endpoint asked for is over.
        """
        if self._since is None:
            self._since = max(now, resumes_at)
        self._in_a_row += 1
        self._cause = cause
        self._failures += counts
        # What was in flight when the breaker opened fails before the next probe is due, and says nothing new.
        if self.is_open and now >= self.next_probe:
            self._probes += 1
            self.next_probe = now + self._backoff(self._probes)

    def usable(self) -> bool:
        """A usable reply came. Returns whether that ended an outage."""
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
        """When the run is to stop, should no usable reply come until then; None while nothing fails."""
        return None if self._since is None or self._held_at is not None else self._since + self._most_seconds

    def trouble(self, now: float) -> Trouble | None:
        """Why nothing usable comes in, from the second failure in a row on."""
        if self._since is None or self._in_a_row < FAILURES_THAT_TELL:
            return None
        left = self._since + self._most_seconds - now
        return Trouble(self._cause, self._in_a_row, max(0.0, now - self._since), max(0.0, left))

    @property
    def last_failure(self) -> str:
        """How often nothing usable came in a row, and the last cause."""
        count = "the one attempt failed" if self._in_a_row == 1 else f"the last of {self._in_a_row:,} failures in a row"
        return f"{count}: {self._cause}"
