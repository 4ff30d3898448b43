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
        self._due: list[tuple[float, int, Work]] = []
        self._spent: list[Work] = []
        self._turns = itertools.count()

    def __len__(self) -> int:
        return len(self._due) + len(self._spent)

    @property
    def due_by_themselves(self) -> int:
        """Rows that wait for nothing but their time."""
        return len(self._due)

    @property
    def next_due(self) -> float:
        """When the first row is due; infinite where none is."""
        return self._due[0][0] if self._due else math.inf

    def put(self, work: Work, due: float) -> None:
        """Let a row wait until then."""
        heapq.heappush(self._due, (due, next(self._turns), work))

    def put_spent(self, work: Work) -> None:
        """Let a row wait that is out of attempts."""
        self._spent.append(work)

    def take(self) -> Work:
        """The row that is due first, whether its time has come or not; one out of attempts where there is no other."""
        return heapq.heappop(self._due)[2] if self._due else self._spent.pop(0)

    def take_spent(self, condition: Callable[[Work], bool]) -> list[Work]:
        """The rows out of attempts that meet a condition."""
        taken: list[Work] = []
        kept: list[Work] = []
        for work in self._spent:
            (taken if condition(work) else kept).append(work)
        self._spent = kept
        return taken

    def begin_anew(self, now: float, *, failed_since: float) -> None:
        """All rows are due; the attempts of those that first failed after `failed_since` do not count."""
        rows = [*(work for _, _, work in sorted(self._due)), *self._spent]
        self._due, self._spent = [], []
        for work in rows:
            if work.first_failure is None or work.first_failure > failed_since:
                work.tries = 0
            self.put(work, now)
