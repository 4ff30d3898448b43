"""The limit of requests in flight: the number in the job or one that is found, lower if the endpoint pushes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipeline.limits.concurrency import AdaptiveConcurrency

if TYPE_CHECKING:
    from pipeline.limits.auto import AutoConcurrency

MAX_IN_FLIGHT = 20_000
AUTO: Literal["auto"] = "auto"
_MIN_FOR_ROWS = 16


class InFlightLimit:
    """The number that `limits.concurrency` asks for, which may be `auto`. Times are monotonic seconds."""

    def __init__(self, asked: int | Literal["auto"]) -> None:
        self._asked: int = MAX_IN_FLIGHT
        self._auto: AutoConcurrency | None = None
        self._room = MAX_IN_FLIGHT
        self._adaptive = AdaptiveConcurrency(MAX_IN_FLIGHT)
        self.ask(asked)

    def ask(self, asked: int | Literal["auto"]) -> None:
        """Use another number from now on. A number that the endpoint has cut stays cut, and grows from there."""
        if asked == AUTO:
            from pipeline.limits.auto import AutoConcurrency

            self._auto = self._auto or AutoConcurrency(self._room)
            self._follow()
            return
        self._auto, self._asked = None, asked
        self._adaptive.set_most(asked)

    @property
    def most(self) -> int:
        """How many requests may be in flight if the endpoint accepts them all."""
        return self._asked if self._auto is None else self._auto.limit

    @property
    def most_rows(self) -> int:
        """The number against which the rows that wait for another attempt are counted."""
        return max(self.most, _MIN_FOR_ROWS) if self._auto is not None else self._asked

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._adaptive.limit

    @property
    def is_auto(self) -> bool:
        """Whether the number is found while sending."""
        return self._auto is not None

    @property
    def has_found(self) -> bool:
        """Whether more in flight brought no more answers."""
        return self._auto is not None and self._auto.has_found

    def make_room(self, room: int) -> None:
        """Set how many the system has room for, whatever the job asks for."""
        self._room = min(room, MAX_IN_FLIGHT)
        if self._auto is not None:
            self._auto.set_most(self._room)
            self._follow()

    def flying(self, in_flight: int, now: float) -> None:
        """Record that so many requests are in flight from now on."""
        if self._auto is not None:
            self._auto.flying(in_flight, now)
            self._follow()

    def queued(self, running: float, waiting: float, now: float) -> None:
        """Learn how many requests the server works on, and how many wait for that."""
        if self._auto is not None:
            self._auto.queued(running, waiting, now)
            self._follow()

    def answered(self, sent_at: float, in_flight: int, latency: float, now: float) -> None:
        """Count a usable reply that came after `latency` seconds, one of `in_flight` requests."""
        self._adaptive.answered(sent_at, in_flight)
        if self._auto is not None:
            self._auto.answered(latency, now)
            self._follow()

    def refused(self, sent_at: float, now: float) -> None:
        """Record that the endpoint asked to slow down."""
        before = self.limit
        self._adaptive.refused(sent_at, now)
        self._after_cut(before, now)

    def timed_out(self, sent_at: float, now: float, answered: int) -> None:
        """Record that a request was not answered in time, while so many others were."""
        before = self.limit
        self._adaptive.timed_out(sent_at, now, answered)
        self._after_cut(before, now)

    def _after_cut(self, before: int, now: float) -> None:
        if self._auto is not None and self.limit < before:
            self._auto.pushed_back(self.limit, now)
            self._follow()

    def _follow(self) -> None:
        if self._auto is not None:
            self._adaptive.set_most(self._auto.limit)
