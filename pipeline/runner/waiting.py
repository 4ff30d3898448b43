"""Rows that wait for their next attempt; they hold no slot."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

from pipeline.runner.feed import Work


class WaitingRows:
    """Rows by when they are due (monotonic seconds). One that is out of attempts is never due by itself: it waits for
    what becomes of the others.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[float, int, Work]] = []
        self._turns = itertools.count()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def next_due(self) -> float:
        """When the first row is due; infinite where none is."""
        return self._rows[0][0] if self._rows else math.inf

    def put(self, work: Work, due: float = math.inf) -> None:
        """Let a row wait until then; without a time, it is out of attempts."""
        heapq.heappush(self._rows, (due, next(self._turns), work))

    def take(self) -> Work:
        """The row that is due first, whether its time has come or not."""
        return heapq.heappop(self._rows)[2]

    def take_spent(self, condition: Callable[[Work], bool]) -> list[Work]:
        """The rows out of attempts that meet a condition."""
        taken = [work for due, _, work in self._rows if due == math.inf and condition(work)]
        if taken:
            numbers = {id(work) for work in taken}
            self._rows = [row for row in self._rows if id(row[2]) not in numbers]
            heapq.heapify(self._rows)
        return taken

    def begin_anew(self, now: float) -> None:
        """All rows are due, and their attempts so far do not count."""
        self._rows = [(min(due, now), turn, work) for due, turn, work in self._rows]
        heapq.heapify(self._rows)
        for _, _, work in self._rows:
            work.tries, work.first_failure = 0, None
