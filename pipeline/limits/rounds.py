"""A round: one number of requests in flight, measured until its mean latency is known well enough."""

from __future__ import annotations

import math

from pipeline.limits.corner import Level

_FEWEST = 16
_MOST = 400
_MIN_SECONDS = 0.25


class Round:
    """A measurement that starts once everything that was in flight at its beginning, and joined it at once, is surely
    over.

    Times are monotonic seconds. It waits for `settling` times `slots` answers before it measures. `error` is the
    relative standard error that is good enough.
    """

    def __init__(self, now: float, in_flight: int, slots: int, *, settling: float, error: float) -> None:
        self._to_pass = math.ceil(max(in_flight, slots) * settling)
        self._slots = slots
        self._error = error
        self._in_flight = in_flight
        self._began = self._seen = now
        self._area = 0.0
        self._count = 0
        self._mean = self._squares = 0.0

    def flying(self, in_flight: int, now: float) -> None:
        """Record that so many are in flight from now on."""
        self._area += (now - self._seen) * self._in_flight
        self._seen, self._in_flight = now, in_flight

    def answered(self, latency: float, now: float) -> Level | None:
        """Count an answer after `latency` seconds. Returns the measurement once it is good enough, else None."""
        if self._to_pass > 0:
            self._to_pass -= 1
            self._began, self._area = now, 0.0
            self._seen = now
            return None
        self._count += 1
        step = latency - self._mean
        self._mean += step / self._count
        self._squares += step * (latency - self._mean)
        seconds = now - self._began
        if self._count < max(_FEWEST, self._slots) or seconds < _MIN_SECONDS or self._mean <= 0:
            return None
        error = math.sqrt(self._squares) / self._count / self._mean
        if error > self._error and self._count < _MOST:
            return None
        self.flying(self._in_flight, now)
        return Level(max(1.0, self._area / seconds), self._mean, error)

    @property
    def has_settled(self) -> bool:
        """Whether answers now count for this round's number."""
        return self._to_pass <= 0
