"""The number of requests in flight beyond which more do not help, found from how latency grows with their number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

_STEPS = 80
_MEMORY = 0.93
"""What each level weighs against the one after it: servers change."""
_NEAR = 0.8
"""How far a level speaks for its neighbors, as a logarithm: a server is a straight line only from near by."""
_MIN_ERROR = 0.08
_SLACK = 0.2
"""How much worse than the best fit, in squared standard errors, a corner at fewer in flight may be."""
_NARROW = 0.05
_BELOW = 0.05
_ANCHOR = 0.04
_DESCENT = 0.25


class Level(Struct, frozen=True):
    """A measurement with so many requests in flight on average: their mean latency in seconds, and its relative
    standard error.
    """

    in_flight: float
    latency: float
    error: float


class Corner(Struct, frozen=True):
    """Latency by requests in flight: `latency` seconds up to the corner, and proportional to their number beyond it.

    `in_flight` is a cautious estimate of the corner, `likely` the best one. `is_seen` tells that something was measured
    clearly below it. Without that, it is unknown where the latency starts to grow.
    """

    in_flight: float
    likely: float
    latency: float
    is_seen: bool

    def excess(self, found: Level) -> float:
        """Return by how much the latency of a level exceeds the expected one, as a logarithm."""
        return math.log(found.latency / self.latency) - self.growth(found.in_flight)

    def growth(self, in_flight: float) -> float:
        """Return which part of the latency is waiting with so many in flight, as a logarithm."""
        return max(0.0, math.log(in_flight / self.in_flight))


def find_corner(levels: Sequence[Level]) -> Corner:
    """Return the corner that fits the measurements best; the newest level is the last.

    By Little's law, answers per second are requests in flight / mean latency, whatever the server does. So beyond the
    corner, where answers come no faster, latency grows in proportion to the number in flight.
    """
    numbers = np.log([one.in_flight for one in levels])
    latencies = np.log([one.latency for one in levels])
    errors = np.maximum([one.error for one in levels], _MIN_ERROR)
    ages = np.arange(len(levels))[::-1]
    weights = np.exp(-(((numbers - numbers[-1]) / _NEAR) ** 2) / 2) * _MEMORY**ages / errors**2
    least, most = float(numbers.min()), float(numbers.max())
    if most - least < _NARROW:
        latency = math.exp(float(np.average(latencies, weights=weights)))
        return Corner(math.exp(most), math.exp(most), latency, is_seen=True)
    places = np.linspace(least, most, _STEPS + 1)
    rests = latencies - np.maximum(0.0, numbers - places[:, None])
    bases = rests @ weights / weights.sum()
    misses = (rests - bases[:, None]) ** 2 @ weights
    best = int(misses.argmin())
    chosen = int(np.flatnonzero(misses <= misses[best] + _SLACK)[0])
    place, base = float(places[chosen]), float(bases[chosen])
    if chosen == 0:  # all may be beyond it, and it anywhere below
        place, base = place - _DESCENT, base - _DESCENT
    below = float(weights[numbers <= place - _BELOW].sum())
    is_seen = below >= _ANCHOR * float(weights.sum())
    return Corner(math.exp(place), math.exp(float(places[best])), math.exp(base), is_seen)
