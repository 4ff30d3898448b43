"""Rows that wait for their next attempt. They occupy no slot."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

from pipeline.runner.feed import Work


class WaitingRows:
    """Waiting rows, by when they are due (monotonic seconds).

    A row that is out of attempts is not due at any time: it waits for what happens to the others.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Work]] = []
        self._spent: list[Work] = []
        self._turns = itertools.count()
        self.image_bytes = 0
        """The bytes of the images of the rows that wait for their time."""

    def __len__(self) -> int:
        return len(self._due) + len(self._spent)

    @property
    def due_by_themselves(self) -> int:
        """The number of rows that wait for their time only."""
        return len(self._due)

    @property
    def next_due(self) -> float:
        """When the first row is due; infinity if there is none."""
        return self._due[0][0] if self._due else math.inf

    def put(self, work: Work, due: float) -> None:
        """Add a row that is due then."""
        heapq.heappush(self._due, (due, next(self._turns), work))
        self.image_bytes += work.request.image_bytes

    def put_spent(self, work: Work) -> None:
        """Add a row that is out of attempts."""
        self._spent.append(work)

    def take(self) -> Work:
        """Remove and return the row that is due first, even before its time; else one that is out of attempts."""
        if not self._due:
            return self._spent.pop(0)
        work = heapq.heappop(self._due)[2]
        self.image_bytes -= work.request.image_bytes
        return work

    def take_spent(self, condition: Callable[[Work], bool]) -> list[Work]:
        """Remove and return the rows out of attempts that meet a condition."""
        taken: list[Work] = []
        kept: list[Work] = []
        for work in self._spent:
            (taken if condition(work) else kept).append(work)
        self._spent = kept
        return taken

    def restart(self, now: float, *, failed_since: float) -> None:
        """Make all rows due. The attempts of rows that first failed after `failed_since` no longer count."""
        rows = [*(work for _, _, work in sorted(self._due)), *self._spent]
        self._due, self._spent, self.image_bytes = [], [], 0
        for work in rows:
            if work.first_failure is None or work.first_failure > failed_since:
                work.tries = 0
            self.put(work, now)
