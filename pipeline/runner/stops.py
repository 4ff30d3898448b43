"""The causes that end a run before its rows are done, and the deadline."""

from __future__ import annotations

import math

from pipeline.endings import StopKind
from pipeline.errors import CheckpointFailed
from pipeline.limits import DAILY, Outage, QuotaWait
from pipeline.records import Failure, Reply
from pipeline.runner.feed import Work
from pipeline.runner.messages import loggable
from pipeline.runner.progress import Stop, StopRequest
from pipeline.wording import lasting

_TOO_MANY_REQUESTS = 429
_MOOT_WHEN_DONE = frozenset({StopKind.DEADLINE, StopKind.OUTAGE, StopKind.RETRY_AFTER, StopKind.NO_SENDERS})
"""Stops that mean nothing any more once every row has an outcome."""


class Stops:
    """The cause that stops a run, and its deadline. The first cause counts.

    `started` is when the run began (monotonic seconds), from which `deadline_seconds` counts; None for no deadline.
    `most_pause_seconds` is how long a run waits for an endpoint that gives no usable reply or asks for a pause; `quota`
    may let it wait longer.
    """

    def __init__(
        self,
        request: StopRequest,
        outage: Outage,
        quota: QuotaWait,
        *,
        deadline_seconds: float | None,
        most_pause_seconds: float,
        started: float,
    ) -> None:
        self._request = request
        self._outage = outage
        self._quota = quota
        self.deadline_seconds = deadline_seconds
        self._most_pause_seconds = most_pause_seconds
        self._started = started
        self.stop: Stop | None = None
        self._fault: Exception | None = None

    @property
    def deadline(self) -> float:
        """The moment by which the run ends; infinity if the job sets none."""
        return self._started + (self.deadline_seconds or math.inf)

    def check(self, now: float, *, shared_pause_until: float, hangs: Stop | None) -> None:
        """Stop the run if its time is over, the endpoint is down or a signal came.

        `shared_pause_until` is the end of the pause of jobs with the same shared limit. `hangs` is what the watchdog
        found.
        """
        if self.stop is None:
            self.stop = self._request.stop() or self._time_is_over(now, shared_pause_until) or hangs

    def _time_is_over(self, now: float, shared_pause_until: float) -> Stop | None:
        if now >= self.deadline:
            return Stop(StopKind.DEADLINE, f"limits.deadline_seconds ({self.deadline_seconds:g}) is over")
        gives_up_at = self._outage.gives_up_at()
        if gives_up_at is not None and now >= gives_up_at:
            return Stop(
                StopKind.OUTAGE,
                "the endpoint has given no usable reply for"
                f" {self._most_pause_seconds:g} s (retry.max_elapsed_seconds); {self._outage.last_failure}",
            )
        left = shared_pause_until - now
        if left > self._most_pause_seconds and not self._waits(left, now):
            return Stop(
                StopKind.RETRY_AFTER,
                f"the endpoint asked a job of the same limits.shared for a pause with"
                f" {lasting(left)} left, {self._too_long}",
            )
        return None

    def add(self, stop: Stop | None) -> None:
        """Stop the run for this cause, unless it stops already."""
        self.stop = self.stop or stop

    def replace(self, stop: Stop | None, by: Stop | None) -> None:
        """Replace a cause that no longer holds by another one, or by none."""
        if self.stop is stop:
            self.stop = by

    def _waits(self, seconds: float, now: float) -> bool:
        """Return whether the run waits for the end of a pause that is longer than usual."""
        waits = self._quota.begins(seconds, now, "the endpoint asked for a pause", free=self._most_pause_seconds)
        if waits:
            self._outage.usable()  # an endpoint that says when to come back is not down
        return waits

    def waits_for_quota(self, told: float | None, now: float) -> float | None:
        """Return for how many seconds to wait for a daily quota; None if the run ends.

        `told` is what the endpoint said about when it starts again, None if it said nothing.
        """
        seconds = self._quota.looks_in(now) if told is None else told
        if seconds is None or not self._quota.is_asked_for or not self._quota.begins(seconds, now, DAILY):
            return None
        self._quota.is_out = True
        self._outage.usable()
        return seconds

    @property
    def _too_long(self) -> str:
        longer = "longer than retry.max_elapsed_seconds"
        return f"{longer} and limits.wait_for_quota_seconds allow" if self._quota.is_asked_for else longer

    def pause_asked(
        self, result: Reply | Failure, work: Work, pause_left: float, now: float, *, has_answered: bool = True
    ) -> None:
        """Stop the run if the endpoint asks for a longer pause than the run waits.

        `pause_left` is how long no server can be asked: another one may not have to wait. `has_answered` tells whether
        the endpoint has answered any request of the run.
        """
        if result.retry_after is None:
            return
        seconds = min(result.retry_after, pause_left)
        if seconds <= self._most_pause_seconds or self._waits(seconds, now):
            return
        words = f": {loggable(result.message, work.request)}" if isinstance(result, Failure) else ""
        most = work.request.max_tokens
        is_refused = isinstance(result, Failure) and result.status == _TOO_MANY_REQUESTS
        if is_refused and not has_answered and most is not None:
            words += f"; if parameters.max_tokens ({most:,}) alone is larger than a limit of the server, no wait helps"
        self.add(
            Stop(
                StopKind.RETRY_AFTER,
                f"the endpoint asks for a pause of {lasting(result.retry_after)}, {self._too_long}{words}",
            )
        )

    def cap_reached(self, words: str) -> None:
        """Stop the run at a cost cap."""
        self.stop = Stop(StopKind.COST_CAP, words)

    def input_failed(self, error: Exception) -> None:
        """Stop the run because no further row can be read; the error is raised when it has ended."""
        self._fault = error
        self.stop = Stop(StopKind.INTERNAL_ERROR, "the input could not be read on")

    def shared_limit_failed(self, error: CheckpointFailed) -> None:
        """Stop the run because the file of a shared limit failed; the error is raised when it has ended."""
        self._fault = error
        self.stop = Stop(error.kind, str(error))

    @property
    def may_lapse(self) -> bool:
        """Whether the stop means nothing once every row has an outcome."""
        return self.stop is not None and self.stop.kind in _MOOT_WHEN_DONE

    def lapse(self) -> None:
        """Withdraw the stop."""
        self.stop = None

    def raise_fault(self) -> None:
        """Raise the error that stopped the run, if one did."""
        if self._fault is not None:
            raise self._fault
