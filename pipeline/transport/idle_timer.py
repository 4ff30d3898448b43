"""A time-out for waits in which nothing arrives."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from pipeline.transport.loop import Loop, Timer


class IdleTimer:
    """Calls `end` with the time-out in seconds when a wait has lasted that long.

    One timer serves all waits of a connection. Otherwise a stream would leave a timer on the loop for each event.
    """

    def __init__(self, loop: Loop, end: Callable[[float], None]) -> None:
        self._loop = loop
        self._end = end
        self._seconds = math.inf
        self._ends_at = math.inf
        self._timer: Timer | None = None
        self._timer_at = math.inf

    def begin(self, seconds: float) -> None:
        """Begin a wait of at most `seconds`."""
        self._seconds = seconds
        self._ends_at = math.inf if seconds == math.inf else monotonic() + seconds
        if self._ends_at < self._timer_at:
            self.close()
            self._set_timer()

    def over(self) -> None:
        """End the wait: something arrived."""
        self._ends_at = math.inf

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf

    def _set_timer(self) -> None:
        self._timer, self._timer_at = self._loop.at(self._ends_at, self._look), self._ends_at

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._ends_at <= monotonic():
            self._end(self._seconds)
        elif self._ends_at < math.inf:
            self._set_timer()
