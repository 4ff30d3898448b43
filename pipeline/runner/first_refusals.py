"""Endpoints that refuse each row at first, and say how long to wait.

Such a refusal tells nothing about a rate or a capacity, so neither is lowered for it. Once a new row is accepted at
once, or one row is refused repeatedly, the earlier refusals count too. Until then each refusal pauses the whole job, so
new rows are sent together: one at a time, each would cost a wait of its own.
"""

from __future__ import annotations

from collections import deque

from pipeline.records import Failure
from pipeline.runner.admission import Reservation
from pipeline.runner.feed import Work

_REFUSALS_THAT_TELL = 3
_MAX_KEPT = 1000

Refusal = tuple[Failure, Reservation]


class FirstRefusals:
    """Decides whether new rows are held until they can be sent together. It is told of every attempt and every
    iteration.
    """

    def __init__(self) -> None:
        self._have_come = False
        self._are_all = True
        self._may_go = True
        self._room = 0
        self._kept: deque[Refusal] = deque(maxlen=_MAX_KEPT)

    @property
    def are_all(self) -> bool:
        """Whether every refusal so far was the first of its row, with no new row taken at once."""
        return self._have_come and self._are_all

    @property
    def hold_new(self) -> bool:
        """Whether new rows have to wait for those in flight."""
        return self.are_all and not self._may_go

    def begin_turn(self, in_flight: int, slots: int) -> None:
        """Let new rows go out if nothing is in flight, unless others that were refused take most of the slots."""
        if not in_flight:
            self._may_go, self._room = True, slots // 2

    def send_again(self) -> None:
        """Count a refused row that is sent again."""
        self._room -= 1
        self._may_go &= self._room >= 0

    def answered(self, work: Work) -> list[Refusal]:
        """Count a row that was accepted. Returns the refusals that now count after all."""
        self._may_go = False
        self._are_all &= work.history.attempts > 0
        return self._counting()

    def failed(self, failure: Failure, failures: int, reserved: Reservation) -> list[Refusal]:
        """Count a failure of a row, its `failures`-th. Returns the refusals that count."""
        self._may_go = False
        self._have_come = True
        self._are_all &= failure.retry_after is not None and failures < _REFUSALS_THAT_TELL
        self._kept.append((failure, reserved))
        return self._counting()

    def _counting(self) -> list[Refusal]:
        if self._are_all or not self._kept:
            return []
        counting = list(self._kept)
        self._kept.clear()
        return counting
