"""Which row is sent next: one whose wait is over, else a new one."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.journal import Event
from pipeline.runner.cached import CachedAnswers
from pipeline.runner.feed import Work, refused_last
from pipeline.runner.pace import Later, Pace
from pipeline.runner.recorder import Recorder
from pipeline.runner.stops import Stops
from pipeline.runner.verdict import Left, Verdicts
from pipeline.runner.waiting import WaitingRows

_MAX_WAITING_PER_SLOT = 2
_MAX_WAITING_AMID_OUTAGE = 1000
MAX_IMAGE_BYTES = 256 * 2**20
"""The most bytes of images that are in flight, and that wait to be sent again before new rows are read."""
_MAX_UNSENT_PER_TURN = 1000


class RowQueue:
    """The rows of a run that have no outcome and are not in flight. Times are monotonic seconds.

    `feed` gives new rows, and rows that make no request as events; `limit` is the most rows to send, None for all. A
    row that had to wait is looked up in `cached` again.
    """

    def __init__(
        self,
        feed: Iterator[Work | Event],
        limit: int | None,
        *,
        pace: Pace,
        recorder: Recorder,
        stops: Stops,
        verdicts: Verdicts,
        cached: CachedAnswers | None = None,
    ) -> None:
        # With a limit, the first rows are meant, in the input's order.
        self._feed = feed if limit is not None else refused_last(feed, lambda: verdicts.has_answered)
        self._rows_left = math.inf if limit is None else limit
        self._pace = pace
        self._recorder = recorder
        self._stops = stops
        self._verdicts = verdicts
        self._cached = cached
        self._first: Work | None = None
        self._probe_new = False
        self._is_read = False
        self.waiting = WaitingRows()

    def next(self, now: float) -> Work | Later:
        """Return the row to send next, or when to ask again."""
        if self._first is not None:
            work, self._first = self._first, None
            if not self._is_answered(work):
                return work
        if self._pace.outage.is_open:
            return self._next_probe(now)
        first_refusals = self._pace.first_refusals
        due = self.waiting.next_due
        if due <= now:
            first_refusals.send_again()
            return self.waiting.take()
        is_full = self.waiting.due_by_themselves >= _MAX_WAITING_PER_SLOT * self._pace.most_rows
        if first_refusals.hold_new or is_full or self.waiting.image_bytes >= MAX_IMAGE_BYTES:
            return Later(due)
        found = self._next_new(now)
        return Later(min(found.at, due)) if isinstance(found, Later) else found

    def _next_probe(self, now: float) -> Work | Later:
        # In turns: the rows that failed may be at fault themselves, and so may the next new one.
        self._probe_new = not self._probe_new
        has_room = len(self.waiting) < _MAX_WAITING_AMID_OUTAGE and self.waiting.image_bytes < MAX_IMAGE_BYTES
        found = self._next_new(now) if (self._probe_new and has_room) or not self.waiting else Later()
        return self.waiting.take() if isinstance(found, Later) and self.waiting else found

    def _next_new(self, now: float) -> Work | Later:
        """Return the next row of the feed. Rows that make no request are recorded on the way."""
        if self._rows_left <= 0:
            return Later()
        try:
            for found in self._feed:
                if isinstance(found, Work):
                    self._rows_left -= 1
                    return found
                self._recorder.add(found)
                if self._recorder.pending_events >= _MAX_UNSENT_PER_TURN:
                    return Later(now)
        except Exception as error:
            # What is in flight is brought home first; then the loop raises it.
            self._stops.input_failed(error)
        self._is_read = True
        return Later()

    def _is_answered(self, work: Work) -> bool:
        """Return whether the cache has the answer of a row by now, unless the row was sent before; then record it."""
        was_sent = work.failures or work.first_request is not None
        answer = None if self._cached is None or was_sent else self._cached.take(work)
        if answer is None:
            return False
        self._recorder.take(work, answer)
        self._rows_left += 1
        return True

    def put_back(self, work: Work) -> None:
        """Make a row the next one again."""
        self._first = work

    def take_spent(self, in_flight: int) -> list[Work]:
        """Remove and return the rows that are out of attempts and have failed, judging by what happened to others."""
        left = self.left(in_flight)
        return self.waiting.take_spent(lambda work: self._verdicts.may_fail(work, left))

    def left(self, in_flight: int) -> Left:
        """Return what is left of the run while so many requests are in flight."""
        # With a limit, the rows that this run may still send: one that sends but a few must come to an end with them.
        sendable = self._rows_left + in_flight + len(self.waiting) + 1
        unfinished = self._recorder.unfinished - self._verdicts.refusals.held
        return Left(int(min(unfinished, sendable)), self._is_fed)

    def unsent(self, in_flight: int) -> float:
        """Return how many rows this run may still send, at most, while so many requests are in flight."""
        waiting = len(self.waiting) + (self._first is not None)
        return min(self._recorder.unfinished - in_flight, self._rows_left + waiting)

    @property
    def is_empty(self) -> bool:
        """Whether no row is left to be sent."""
        return not self.waiting and self._first is None and self._is_fed

    def ends_with(self, in_flight: int) -> bool:
        """Return whether every row has an outcome, although the run was to stop, while so many requests are in flight.

        This may have to read a further row.
        """
        if in_flight or self.waiting or self._first is not None:
            return False
        if not self._is_fed and isinstance(found := self._next_new(-math.inf), Work):
            self._first = found
        return self.is_empty

    @property
    def _is_fed(self) -> bool:
        """Whether no new row will come."""
        return self._is_read or self._rows_left <= 0
