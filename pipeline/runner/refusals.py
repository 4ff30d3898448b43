"""Rows that were refused for good. They are held until the next replies tell whether the row or the whole job is the
cause.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pipeline.endings import StopKind
from pipeline.records import Failure
from pipeline.retry import Decision
from pipeline.runner.progress import Stop

ALIKE_THAT_STOP = 5
"""So many 403 or 404 in a row stop a run that has had answers."""
FIRST_THAT_STOP = 20
"""So many refusals in the same way, the first of a job, stop it."""


Item = TypeVar("Item")


class Refusals(Generic[Item]):
    """What refusals say about the job. Each is of an item that stands for a row. Passing failures between them are
    ignored.

    A 403 or 404 (Decision.REFUSE) stops a run that has had no answer. The stop is withdrawn if a request in flight is
    answered after all. Other refusals stop only a job that was never answered (`is_new`), if its first twenty requests
    are refused in the same way: with the same status and error code.
    """

    def __init__(self, *, is_new: bool) -> None:
        self._is_new = is_new
        self._has_answered = False
        self._held: list[Item] = []
        self._way: tuple[int | None, str] | None = None
        self._alike = 0
        self._is_final = False
        self.stop: Stop | None = None
        """Why the run has to stop, as far as refusals go."""

    def refused(self, item: Item, failure: Failure, decision: Decision, message: str) -> list[Item]:
        """Count a refusal; `message` is its message as it may be shown. Returns the rows that fail now, including this
        one unless it is held.
        """
        way = (failure.status, failure.code)
        failing: list[Item] = []
        if way != self._way:
            self._is_new = self._is_new and self._way is None
            failing = self._release()
            self._way, self._alike = way, 0
        self._alike += 1
        if decision is Decision.REFUSE:
            self._is_new = False
            if self._alike >= ALIKE_THAT_STOP or not self._has_answered:
                self._is_final = self._is_final or self._alike >= ALIKE_THAT_STOP
                self.stop = self.stop or Stop(StopKind[failure.kind.name], message)
        elif not self._is_new:
            return [*failing, item]
        elif self._alike >= FIRST_THAT_STOP:
            self._is_final = True
            self.stop = self.stop or Stop(
                StopKind.ALL_REFUSED,
                f"the endpoint has refused each of the first {FIRST_THAT_STOP} requests in the same"
                f" way, and answered none; correct the job and run it again: {message}",
            )
        self._held.append(item)
        return failing

    def answered(self) -> list[Item]:
        """Count an answer. Returns the rows that fail, because they and not the job are the cause."""
        self._has_answered = True
        if not self._is_final:
            self.stop = None
        return self.ended_otherwise()

    def ended_otherwise(self) -> list[Item]:
        """Count a request that ended in another way, neither refused nor to be retried. Returns the rows that fail."""
        self._is_new = self._is_new and self._is_final
        if not self._is_final:
            self._way = None
        return self._release()

    def left(self) -> list[Item]:
        """Return the rows that fail at the end of the run. Those of a refused job stay pending."""
        return self._release()

    @property
    def held(self) -> int:
        """The number of rows whose end is not known yet."""
        return len(self._held)

    def _release(self) -> list[Item]:
        if self.stop is not None:
            return []
        released, self._held = self._held, []
        return released
