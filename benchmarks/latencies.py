"""The server's latencies again, and the best that could be made of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

_64_BITS = 2**64 - 1


def _uniform(seed: int, counter: int) -> float:
    """Return a number between 0 and 1, the same as in server.c: https://prng.di.unimi.it/splitmix64.c as a hash."""
    z = (seed * 0xD1342543DE82EF95 + (counter + 1) * 0x9E3779B97F4A7C15) & _64_BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _64_BITS
    z ^= z >> 31
    return ((z >> 11) + 0.5) * 2.0**-53


def lognormal(seed: int, request: int, mean: float, sigma: float) -> float:
    """Return the latency in seconds of request number `request` (from 0 since the reset), as the server gives it.

    `mean` is that of the latency in seconds, `sigma` the standard deviation of its logarithm.
    """
    normal = math.sqrt(-2 * math.log(_uniform(seed, 2 * request))) * math.cos(
        2 * math.pi * _uniform(seed, 2 * request + 1)
    )
    return mean * math.exp(sigma * normal - sigma * sigma / 2)


def perfect_schedule(latencies: Iterable[float], slots: int) -> float:
    """How long the requests take, in seconds from the first one's start to the last one's end, where each starts in the
    very moment when one of `slots` slots is free.
    """
    ends: list[float] = []
    for latency in latencies:
        start = heapq.heappop(ends) if len(ends) == slots else 0.0
        heapq.heappush(ends, start + latency)
    return max(ends, default=0.0)
