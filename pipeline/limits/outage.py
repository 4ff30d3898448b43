"""Whether the endpoint is down: then nothing but a single probe is sent, and no row pays for it."""

from __future__ import annotations

import math
from collections.abc import Callable

FAILURES_THAT_MEAN_OUTAGE = 5


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
        self.next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the endpoint is taken to be down."""
        return self._failures >= FAILURES_THAT_MEAN_OUTAGE

    def failed(self, now: float, *, counts: bool, resumes_at: float = -math.inf) -> None:
        """An attempt failed for a passing cause. Only those that count speak for an outage; the first of all starts the
        time after which the run gives up, once the pause that the endpoint asked for is over.
        """
        if self._since is None:
            self._since = max(now, resumes_at)
        self._failures += counts
        # What was in flight when the breaker opened fails before the next probe is due, and says nothing new.
        if self.is_open and now >= self.next_probe:
            self._probes += 1
            self.next_probe = now + self._backoff(self._probes)

    def usable(self) -> bool:
        """A usable reply came. Returns whether that ended an outage."""
        ended = self.is_open
        self._failures = self._probes = 0
        self._since = None
        self.next_probe = 0.0
        return ended

    def gives_up_at(self) -> float | None:
        """When the run is to stop, should no usable reply come until then; None while nothing fails."""
        return None if self._since is None else self._since + self._most_seconds
