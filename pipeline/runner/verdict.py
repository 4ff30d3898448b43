"""The verdict on a failed attempt: the cause is the row, a passing state of the endpoint, or the whole job.

Nothing here waits or records: the runner does what a verdict says.
"""

from __future__ import annotations

import math
from enum import Enum

from msgspec import Struct

from pipeline.endings import StopKind
from pipeline.errors import ErrorKind
from pipeline.limits import Outage
from pipeline.records import Failure
from pipeline.retry import Decision, decide
from pipeline.runner.feed import Busy, Work
from pipeline.runner.messages import loggable
from pipeline.runner.progress import Stop
from pipeline.runner.refusals import Refusals

_FEW_ROWS = 5
_FIRST_SERVER_ERROR = 500
_MIN_REFUSALS = 2
_BUSY = frozenset({429, 503, 529})
"""Statuses that say "too much at once". nginx answers with 503 what is beyond `limit_req` and `limit_conn`
(nginx.org, ngx_http_limit_req_module); Anthropic documents 529 as "overloaded".
"""
_BUSY_KINDS = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.OUT_OF_CAPACITY})


class Action(Enum):
    """What happens to a row whose attempt failed."""

    AGAIN = "again"
    """It is sent again after a wait."""
    SPENT = "spent"
    """It is out of attempts; whether it fails depends on the others."""
    FAIL = "fail"
    """It fails."""
    HOLD = "hold"
    """It waits for the next replies, or stays pending."""


class Verdict(Struct, frozen=True):
    """What follows from a failure. `kind` is the row's error if it fails, `failing` are other rows that fail now."""

    action: Action
    kind: ErrorKind
    failing: tuple[Work, ...] = ()
    stop: Stop | None = None
    works: bool = False
    """Whether the endpoint has processed the request, so it is not down."""


class Left(Struct, frozen=True):
    """What is left of a run: rows without an outcome, and whether all new rows have been read."""

    unfinished: int
    is_fed: bool


class Verdicts:
    """Judges each failure by what happened to the other requests. Times are monotonic seconds.

    `is_new` tells that no row of the job was ever answered.
    """

    def __init__(self, outage: Outage, *, max_attempts: int, is_new: bool) -> None:
        self.outage = outage
        self.refusals = Refusals[Work](is_new=is_new)
        self.has_answered = False
        self._max_attempts = max_attempts
        self._last_answer = self._last_usable = -math.inf
        self._told_busy = 0

    def answered(self, now: float) -> list[Work]:
        """Count an answer. Returns the rows that fail, because the endpoint works for others."""
        self.has_answered = True
        self._last_answer = now
        return self.refusals.answered()

    def works(self, now: float) -> float | None:
        """Record that the endpoint processed a request. If that ends an outage, returns when it did so before; else
        None.
        """
        before, self._last_usable = self._last_usable, now
        return before if self.outage.usable() else None

    def judge(
        self,
        failure: Failure,
        work: Work,
        *,
        taken_at: float,
        now: float,
        resumes_at: float,
        left: Left,
        is_at_first: bool = False,
    ) -> Verdict:
        """Return what follows from a failed attempt, which was let in at `taken_at`.

        A pause that the endpoint asked for lasts until `resumes_at`. `is_at_first`: the endpoint refuses each row at
        first, which is no sign of an outage.
        """
        decision = decide(failure)
        if decision is Decision.STOP:
            stop = Stop(StopKind[failure.kind.name], loggable(failure.message, work.request))
            return Verdict(Action.HOLD, failure.kind, stop=stop)
        if decision is Decision.REFUSE or (decision is Decision.FAIL and failure.kind is not ErrorKind.REPLY_TOO_LARGE):
            return self._refused(failure, work, decision)
        if decision is Decision.FAIL:
            return Verdict(Action.FAIL, failure.kind, tuple(self.refusals.ended_otherwise()), works=True)
        since = taken_at if work.last_failure is None else work.last_failure
        is_answering = self._last_answer >= since
        if is_busy(failure):
            decision = Decision.WAIT if is_answering else decision
            if self._is_always_busy(work, now):
                return Verdict(Action.FAIL, ErrorKind.RATE_LIMITED)
        may_fail = self.may_fail(work, left)
        # A row that would be out of attempts waits for others; only an outage sends it again.
        is_last = work.tries + 1 >= self._max_attempts
        counts = decision is Decision.RETRY and not may_fail and (is_last or not is_at_first)
        speaks_of_outage = not failure.sent or counts
        cause = loggable(failure.message, work.request)
        self.outage.failed(now, counts=speaks_of_outage, resumes_at=resumes_at, cause=cause)
        work.failures += 1
        work.first_failure = now if work.first_failure is None else work.first_failure
        work.last_failure = now
        # During an outage no attempt counts, unless no new row is left that could show its end.
        if decision is Decision.RETRY and (not self.outage.is_open or (may_fail and left.is_fed)):
            work.tries += 1
        if work.tries < self._max_attempts:
            return Verdict(Action.AGAIN, failure.kind)
        return Verdict(Action.FAIL if self.may_fail(work, left) else Action.SPENT, failure.kind)

    def may_fail(self, work: Work, left: Left) -> bool:
        """Return whether a row that is out of attempts fails; otherwise the endpoint may be the cause."""
        return (
            work.history.failed_runs > 0
            or left.unfinished < _FEW_ROWS
            or (work.first_failure is not None and self._last_usable > work.first_failure)
        )

    def _refused(self, failure: Failure, work: Work, decision: Decision) -> Verdict:
        before = self.refusals.stop
        failing = self.refusals.refused(work, failure, decision, loggable(failure.message, work.request))
        fails = bool(failing) and failing[-1] is work
        stop = self.refusals.stop if self.refusals.stop is not before else None
        others = tuple(failing[: -1 if fails else None])
        works = decision is Decision.FAIL
        return Verdict(Action.FAIL if fails else Action.HOLD, failure.kind, others, stop, works)

    def _is_always_busy(self, work: Work, now: float) -> bool:
        """Return whether the endpoint keeps refusing this row because of load, while it answers others and refuses none
        of them.

        Then the row itself is too much for it.
        """
        self._told_busy += 1
        busy = work.busy = work.busy or Busy()
        busy.own += 1
        others = self._told_busy - busy.own
        if busy.times and self._last_answer < busy.at:
            return False  # nothing was answered since, so the row may not be the cause
        busy.times = busy.times + 1 if busy.times and others == busy.others else 1
        busy.at, busy.others = now, others
        # The first row of an outage is refused while others are still answered.
        return busy.times >= max(_MIN_REFUSALS, self._max_attempts)


def is_busy(failure: Failure) -> bool:
    """Return whether a failure says that the endpoint is overloaded at the moment."""
    return failure.status in _BUSY or failure.kind in _BUSY_KINDS


def is_of_outage(failure: Failure) -> bool:
    """Return whether a failure says that its server is down: no reply, or a 5xx that neither refuses the request nor
    asks for a wait.
    """
    if failure.http_status is None:
        return failure.kind in (ErrorKind.CONNECTION_ERROR, ErrorKind.TIMEOUT)
    if failure.kind is ErrorKind.BAD_REQUEST:
        return False
    return failure.http_status >= _FIRST_SERVER_ERROR and failure.retry_after is None


def is_over_rate(failure: Failure) -> bool:
    """Return whether a failure may say that a rate was exceeded: a 429, or a 503 as nginx sends it."""
    return is_busy(failure) and failure.kind is not ErrorKind.OUT_OF_CAPACITY
