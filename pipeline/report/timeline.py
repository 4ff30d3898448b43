"""What happened when, taken in one by one: the bins are few, however long a job takes and however many rows it has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

_MOST_BINS = 120
_SHORTEST_SECONDS = 1 / 16
_LONGEST_PAUSE = 0.25
"""A pause is left out where it takes a larger share of all the time in which requests were in flight."""


class Bin(Struct):
    """What ended in a stretch of time, and for how long requests were in flight in it, added up."""

    answered: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    in_flight_seconds: float = 0.0

    def take(self, other: Bin) -> None:
        """Add another one."""
        self.answered += other.answered
        self.failed += other.failed
        self.cost_usd += other.cost_usd
        self.in_flight_seconds += other.in_flight_seconds


class Stretch(Struct, frozen=True):
    """Bins without a pause between them, and their edges in Unix seconds, one more than there are bins."""

    edges: list[float]
    bins: list[Bin]


class Timeline:
    """Bins of one width in seconds, which doubles whenever more than 120 would hold something. Stretches in which
    nothing was in flight take none, so that runs days apart leave each other room.
    """

    def __init__(self) -> None:
        self._bins: dict[int, Bin] = {}
        self.width = _SHORTEST_SECONDS
        self.begin = math.inf
        self.end = -math.inf

    def add(self, start: float, end: float, *, failed: bool, cost_usd: float) -> None:
        """Take in a request that was in flight from `start` to `end` (Unix seconds), and what it cost."""
        self.add_in_flight(start, end)
        last = self._bin(int(end // self.width))
        last.answered += not failed
        last.failed += failed
        last.cost_usd += cost_usd
        self._narrow()

    def add_in_flight(self, start: float, end: float) -> None:
        """Take in a request that was in flight, whatever its end."""
        self.begin, self.end = min(self.begin, start), max(self.end, end)
        while (end - start) / self.width > _MOST_BINS:
            self._widen()
        for index in range(int(start // self.width), int(end // self.width) + 1):
            begin = index * self.width
            self._bin(index).in_flight_seconds += max(0.0, min(end, begin + self.width) - max(start, begin))
        self._narrow()

    def stretches(self) -> Iterator[Stretch]:
        """Yield every bin in order of time. A short pause is filled with empty bins, a long one ends a stretch.

        The very first bin begins with the first request, and the last one ends with the last, but none is less than
        half as wide as the others: what it holds would make too high a rate.
        """
        indexes = sorted(self._bins)
        most = max(1.0, len(indexes) * _LONGEST_PAUSE)
        begin: int | None = None
        bins: list[Bin] = []
        for index, following in pairwise([*indexes, None]):
            begin = index if begin is None else begin
            assert index is not None and begin is not None
            bins.append(self._bins[index])
            if following is None or following - index - 1 > most:
                yield Stretch(self._edges(begin, len(bins)), bins)
                begin, bins = None, []
            else:
                bins += [Bin() for _ in range(following - index - 1)]

    def _edges(self, index: int, bins: int) -> list[float]:
        edges = [(index + offset) * self.width for offset in range(bins + 1)]
        edges[0] = min(max(edges[0], self.begin), edges[0] + self.width / 2)
        edges[-1] = max(min(edges[-1], self.end), edges[-1] - self.width / 2)
        return edges

    def _bin(self, index: int) -> Bin:
        found = self._bins.get(index)
        if found is None:
            found = self._bins[index] = Bin()
        return found

    def _narrow(self) -> None:
        while len(self._bins) > _MOST_BINS:
            self._widen()

    def _widen(self) -> None:
        bins, self._bins = self._bins, {}
        self.width *= 2
        for index, found in bins.items():
            self._bin(index // 2).take(found)
