"""How values are distributed, taken in one by one: the bins are few, however many values there are."""

from __future__ import annotations

import math
from collections import Counter
from itertools import accumulate

_MOST_BINS = 512
_BINS_A_DOUBLING = 32


class Histogram:
    """Counts of whole numbers from 0 in bins of one width, which is 1 to begin with and doubles whenever a number would
    need more than 512 bins.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._width = 1
        self.count = 0
        self.total = 0

    def add(self, value: int) -> None:
        """Take in a number that is not negative."""
        while value >= self._width * _MOST_BINS:
            self._width *= 2
            self._counts = _joined(self._counts, 2)
        self._counts[value // self._width] += 1
        self.count += 1
        self.total += value

    def bars(self, most: int) -> tuple[list[float], list[int]]:
        """Return the edges of at most `most` bars of one width, from 0, and the count of each; none without values."""
        joined = _power_of_two((max(self._counts, default=-1) + 1) / most)
        counts = _joined(self._counts, joined)
        last = max(counts, default=-1)
        edges = [float(index * joined * self._width) for index in range(last + 2)]
        return edges, [counts[index] for index in range(last + 1)]

    def quantile(self, share: float) -> float | None:
        """Return the quantile of a share, to the bin; None if there are no values."""
        index = _index_at(self._counts, share)
        return None if index is None else index * self._width + (self._width - 1) / 2


class LogHistogram:
    """Counts of positive numbers in bins of one ratio, 32 for a doubling: what is read from them is 1.1% off at most.
    What is below `least` counts as that.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._counts: Counter[int] = Counter()
        self.count = 0

    def add(self, value: float) -> None:
        """Take in a number."""
        self._counts[int(math.log2(max(1.0, value / self._least)) * _BINS_A_DOUBLING)] += 1
        self.count += 1

    def bars(self, most: int) -> tuple[list[float], list[int]]:
        """Return bars as `Histogram.bars` does, from the least value on, with edges in one ratio; one more at most."""
        first, last = min(self._counts, default=0), max(self._counts, default=-1)
        joined = _power_of_two((last + 1 - first) / most)
        counts = _joined(self._counts, joined)
        indexes = range(first // joined, max(counts, default=-1) + 1)
        edges = [self._value(index * joined) for index in (*indexes, indexes.stop)]
        return edges, [counts[index] for index in indexes]

    def quantile(self, share: float) -> float | None:
        """Return a quantile as `Histogram.quantile` does."""
        index = _index_at(self._counts, share)
        return None if index is None else self._value(index + 0.5)

    def _value(self, index: float) -> float:
        value: float = self._least * 2 ** (index / _BINS_A_DOUBLING)
        return value


def _joined(counts: Counter[int], bins: int) -> Counter[int]:
    """Return the counts with each `bins` bins merged into one."""
    joined: Counter[int] = Counter()
    for index, count in counts.items():
        joined[index // bins] += count
    return joined


def _power_of_two(least: float) -> int:
    return 1 << max(0, math.ceil(math.log2(least))) if least > 0 else 1


def _index_at(counts: Counter[int], share: float) -> int | None:
    """Return the bin that holds the quantile of a share."""
    indexes = sorted(counts)
    reached = accumulate(counts[index] for index in indexes)
    wanted = share * counts.total()
    return next((index for index, so_far in zip(indexes, reached, strict=True) if so_far >= wanted), None)
