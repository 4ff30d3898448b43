"""Rows that were refused for good, held until the next replies tell whether it is the row or the whole job."""

from __future__ import annotations

from pipeline.endings import StopKind
from pipeline.records import Failure
from pipeline.retry import Decision
from pipeline.runner.feed import Work
from pipeline.runner.progress import Stop
from pipeline.runner.settle import told

ALIKE_THAT_STOP = 5
"""So many 403 or 404 in a row stop a run that has had answers."""
FIRST_THAT_STOP = 20
"""So many refusals in the same way, the first of a job, stop it."""


class Refusals:
    """What refusals say of the job. Failures that pass lie between them without a meaning.

    A 403 or 404 (Decision.REFUSE) stops a run that has had no answer; the stop is taken back if a request that was in
    flight is answered after all. Other refusals stop only a job that was never answered (`is_new`), by its first
    twenty. "The same way" is the same status and error code.
    """

    def __init__(self, *, is_new: bool) -> None:
        self._is_new = is_new
        self._has_answered = False
        self._held: list[Work] = []
        self._way: tuple[int | None, str] | None = None
        self._alike = 0
        self._is_final = False
        self.stop: Stop | None = None
        """Why the run has to stop, as far as refusals go."""

    def refused(self, work: Work, failure: Failure, decision: Decision) -> list[Work]:
        """The rows that fail, now that this one was refused: this one too, unless it is held."""
        way = (failure.status, failure.code)
        failing: list[Work] = []
        if way != self._way:
            self._is_new = self._is_new and self._way is None
            failing = self._release()
            self._way, self._alike = way, 0
        self._alike += 1
        if decision is Decision.REFUSE:
            self._is_new = False
            if self._alike >= ALIKE_THAT_STOP or not self._has_answered:
                self._is_final = self._is_final or self._alike >= ALIKE_THAT_STOP
                self.stop = self.stop or Stop(StopKind[failure.kind.name], told(failure.message, work.request))
        elif not self._is_new:
            return [*failing, work]
        elif self._alike >= FIRST_THAT_STOP:
            self._is_final = True
            self.stop = self.stop or Stop(
                StopKind.ALL_REFUSED,
                f"the endpoint has refused each of the first {FIRST_THAT_STOP} requests in the same"
                f" way, and answered none; correct the job and run it again: {told(failure.message, work.request)}",
            )
        self._held.append(work)
        return failing

    def answered(self) -> list[Work]:
        """An answer came: the rows that fail, because it was they and not the job."""
        self._has_answered = True
        if not self._is_final:
            self.stop = None
        return self.ended_otherwise()

    def ended_otherwise(self) -> list[Work]:
        """A request came to an end in another way, neither refused nor to be tried again: the rows that fail."""
        self._is_new = self._is_new and self._is_final
        if not self._is_final:
            self._way = None
        return self._release()

    def left(self) -> list[Work]:
        """The rows that fail at the end of the run; those of a job that was refused stay pending."""
        return self._release()

    @property
    def held(self) -> int:
        """Rows whose end is not known yet."""
        return len(self._held)

    def _release(self) -> list[Work]:
        if self.stop is not None:
            return []
        released, self._held = self._held, []
        return released
