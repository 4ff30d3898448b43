"""An endpoint that refuses each row at first, and says how long to wait.

Such a refusal tells nothing of a rate or of a capacity, so neither is lowered for it. Once a new row was taken at once,
or one was refused again and again, the refusals before it count too. Until then each holds up the whole job, so new
rows go out together: one at a time, each would cost a wait of its own.
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
    """Whether new rows are held until they can go out together. Told of every attempt, and of every turn."""

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
        """Whether new rows have to wait for those that are under way."""
        return self.are_all and not self._may_go

    def begin_turn(self, in_flight: int, slots: int) -> None:
        """With nothing in flight, new rows may go out, unless others that were refused take most of the slots."""
        if not in_flight:
            self._may_go, self._room = True, slots // 2

    def send_again(self) -> None:
        """A row that was refused goes out once more."""
        self._room -= 1
        self._may_go &= self._room >= 0

    def answered(self, work: Work) -> list[Refusal]:
        """A row was taken. Gives the refusals that tell something after all."""
        self._may_go = False
        self._are_all &= work.history.attempts > 0
        return self._telling()

    def failed(self, failure: Failure, failures: int, reserved: Reservation) -> list[Refusal]:
        """A row has failed so many times, this one included. Gives the refusals that tell something."""
        self._may_go = False
        self._have_come = True
        self._are_all &= failure.retry_after is not None and failures < _REFUSALS_THAT_TELL
        self._kept.append((failure, reserved))
        return self._telling()

    def _telling(self) -> list[Refusal]:
        if self._are_all or not self._kept:
            return []
        told = list(self._kept)
        self._kept.clear()
        return told
