"""The loop that sends: admit, record, send, receive.

One thread decides and records; the engine's threads only send. In each turn the outcomes that have come in, and the
claims of the requests that go out next, become durable in one commit; only then are those requests sent. So a slot is
free again only when its answer is on disk, and after a kill the open claims are exactly the requests in flight.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline.catalogue import Price
from pipeline.client import Attempt, Task
from pipeline.config.models import LimitsConfig, RetryConfig
from pipeline.errors import CheckpointFailed, ErrorKind
from pipeline.journal import Claim, Event, Journal, State
from pipeline.limits import RAMP_STEP_SECONDS, AdaptiveConcurrency, Outage, Pause, ramp
from pipeline.plan import Plan
from pipeline.records import Failure, Reply
from pipeline.retry import PASSING, Backoff, Decision, decide
from pipeline.runner.admission import Admission, OverBudget, Reservation
from pipeline.runner.engine import Engine
from pipeline.runner.feed import Work
from pipeline.runner.first_refusals import FirstRefusals
from pipeline.runner.progress import Progress, Stop, StopRequest
from pipeline.runner.recorder import Recorder
from pipeline.runner.settle import bill, failed_record, record_of, told
from pipeline.runner.waiting import WaitingRows
from pipeline.runner.watchdog import Watchdog

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedLimit

_FEW_ROWS = 5
_TICK_SECONDS = 0.5
_MOST_WAITING_A_SLOT = 2
_MOST_UNSENT_A_TURN = 1000


@dataclass(slots=True)
class _InFlight:
    work: Work
    claim: Claim
    reserved: Reservation

    def task(self) -> Task:
        """What an engine is given of it."""
        return Task(self.claim.number, self.work.request, self.reserved.send_by)


class Runner:
    """One run over the rows of a feed. `run` may be called once.

    Args:
        feed: the rows to send, in order (see `pipeline.runner.feed`).
        limit: the most rows to send; None for all.
        price, context_window: of the model, as far as known.
        started: when the run began, on `clock`; the deadline counts from then.
        shared: the limit that this job has in common with others.
        observe: called every half second or so, and at the end.
    """

    def __init__(
        self,
        *,
        feed: Iterator[Work | Event],
        plan: Plan,
        journal: Journal,
        engine: Engine,
        pause: Pause,
        limits: LimitsConfig,
        retry: RetryConfig,
        settings: int,
        price: Price | None,
        context_window: int | None,
        limit: int | None = None,
        stop_request: StopRequest,
        shared: SharedLimit | None = None,
        started: float | None = None,
        observe: Callable[[Progress], None] = lambda progress: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._feed = feed
        self._engine = engine
        self._pause = pause
        self._limits = limits
        self._retry = retry
        self._price = price
        self._rows_left = math.inf if limit is None else limit
        self._stop_request = stop_request
        self._observe = observe
        self._clock = clock
        self._started = clock() if started is None else started

        self.stop: Stop | None = None
        self._recorder = Recorder(journal, plan, settings, wall_clock)
        totals = journal.totals
        self._admission = Admission(
            limits,
            price=price,
            context_window=context_window,
            spent=totals.cost_usd + totals.possibly_billed_usd,
            shared=shared,
        )
        self._concurrency = AdaptiveConcurrency(limits.concurrency)
        self._backoff = Backoff(retry.initial_seconds, retry.max_seconds)
        self._outage = Outage(backoff=self._backoff.seconds, most_seconds=retry.max_elapsed_seconds)
        self._watchdog = Watchdog(limits.timeout_seconds, _TICK_SECONDS)
        self._in_flight: dict[int, _InFlight] = {}
        self._waiting = WaitingRows()
        self._put_back: Work | None = None
        self._probe_new = False
        self._first_refusals = FirstRefusals()
        self._last_usable = -math.inf
        self._sending_since: float | None = None
        self._wake_at = math.inf
        self._fed = False
        self._fault: Exception | None = None

    @property
    def progress(self) -> Progress:
        """How the run goes."""
        return self._recorder.progress

    def remember(self, sent: list[tuple[float, float]]) -> None:
        """Count against the rates what earlier runs sent: (seconds ago, tokens), oldest first."""
        self._admission.remember(sent, self._clock())

    # ---- the loop

    def run(self) -> Stop | None:
        """Send until every row has an outcome or something stops the run; returns what stopped it."""
        deadline = self._started + (self._limits.deadline_seconds or math.inf)
        observed = drained = -math.inf
        while True:
            now = self._clock()
            self._check_stops(now, deadline)
            claims = [] if self.stop else self._admit(now)
            self._recorder.commit(claims)
            if claims:
                self._engine.send([self._in_flight[claim.number].task() for claim in claims])
            if self.stop and drained == -math.inf:
                drained = now + self._limits.drain_seconds
            if now - observed >= _TICK_SECONDS:
                observed = now
                self._show(now)
            if not self._in_flight and (self.stop or self._is_done()):
                break
            if self.stop and (now >= drained or self._stop_request.at_once):
                break
            until = min(now + _TICK_SECONDS, drained if self.stop else min(self._wake_at, deadline))
            attempts = self._engine.receive(max(0.0, until - now))
            self._watchdog.waited(self._clock() - now, heard=bool(attempts) or not self._in_flight)
            for attempt in attempts:
                self._settle(attempt, self._clock())
        self._recorder.give_up(flight.claim for flight in self._in_flight.values())
        self._in_flight.clear()
        self._recorder.commit([])
        self._show(self._clock())
        if self._fault is not None:
            raise self._fault
        return self.stop

    def _is_done(self) -> bool:
        return not self._waiting and self._put_back is None and self._is_fed()

    def _is_fed(self) -> bool:
        """Whether no new row will come."""
        return self._fed or self._rows_left <= 0

    def _check_stops(self, now: float, deadline: float) -> None:
        if self.stop:
            return
        gives_up_at = self._outage.gives_up_at()
        hangs = self._watchdog.stop(len(self._in_flight))
        if self._stop_request.signal is not None:
            self.stop = self._stop_request.stop()
        elif now >= deadline:
            self.stop = Stop(4, "deadline", f"limits.deadline_seconds ({self._limits.deadline_seconds:g}) is over")
        elif gives_up_at is not None and now >= gives_up_at:
            self.stop = Stop(
                5, "outage", "the endpoint has given no usable reply for"
                f" {self._retry.max_elapsed_seconds:g} s (retry.max_elapsed_seconds)",
            )  # fmt: skip
        elif (left := self._admission.paused_until() - now) > self._retry.max_elapsed_seconds:
            self.stop = Stop(
                5, "retry_after", f"the endpoint asked a job of the same limits.shared for a pause that lasts another"
                f" {left:.0f} s, longer than retry.max_elapsed_seconds",
            )  # fmt: skip
        elif hangs is not None:
            self.stop = hangs

    # ---- admitting

    def _admit(self, now: float) -> list[Claim]:
        """The claims of all requests that may go out now. Sets when to look again."""
        self._wake_at = self._outage.gives_up_at() or math.inf
        self._pause.extend(self._admission.paused_until())
        if now < self._pause.until:
            self._wake_at = min(self._wake_at, self._pause.until)
            return []
        if not self._outage.is_open:
            for spent in self._waiting.take_spent(self._may_fail):
                self._fail(spent)
        claims: list[Claim] = []
        slots = self._slots(now)
        self._first_refusals.begin_turn(len(self._in_flight), slots)
        while len(self._in_flight) < slots:
            if self._outage.is_open and (self._in_flight or now < self._outage.next_probe):
                self._wake_at = min(self._wake_at, math.inf if self._in_flight else self._outage.next_probe)
                break
            work = self._next(now)
            if work is None:
                break
            claim = self._claim(work, now)
            if claim is None:
                self._put_back = work
                break
            claims.append(claim)
        return claims

    def _slots(self, now: float) -> int:
        """How many requests may be in flight now. Sets when there may be more."""
        if self._sending_since is None:
            self._sending_since = now
        ramped = ramp(now - max(self._sending_since, self._pause.until))
        if ramped < self._concurrency.limit:
            self._wake_at = min(self._wake_at, now + RAMP_STEP_SECONDS)
        return min(ramped, self._concurrency.limit)

    def _next(self, now: float) -> Work | None:
        """The row to send next: one whose wait is over, else a new one."""
        if self._put_back is not None:
            work, self._put_back = self._put_back, None
            return work
        if self._outage.is_open:
            # In turns: the rows that failed may be at fault themselves, and so may the next new one.
            self._probe_new = not self._probe_new
            fresh = self._next_new(now) if self._probe_new or not self._waiting else None
            return fresh or (self._waiting.take() if self._waiting else None)
        if self._waiting and self._waiting.next_due <= now:
            self._first_refusals.send_again()
            return self._waiting.take()
        self._wake_at = min(self._wake_at, self._waiting.next_due)
        if self._waiting.due_by_themselves >= _MOST_WAITING_A_SLOT * self._limits.concurrency:
            return None
        if self._first_refusals.hold_new:
            return None
        return self._next_new(now)

    def _next_new(self, now: float) -> Work | None:
        """The next row of the feed; rows that make no request are recorded on the way."""
        if self._rows_left <= 0:
            return None
        try:
            for found in self._feed:
                if isinstance(found, Work):
                    self._rows_left -= 1
                    return found
                self._recorder.add(found)
                if self._recorder.gathered >= _MOST_UNSENT_A_TURN:
                    self._wake_at = now
                    return None
        except Exception as error:
            # What is in flight is brought home first; then `run` raises it.
            self._fault = error
            self.stop = Stop(1, "input", "the input could not be read on")
        self._fed = True
        return None

    def _claim(self, work: Work, now: float) -> Claim | None:
        """Reserve what a request needs, or say when to look again; a cap that is reached stops the run."""
        try:
            reserved = self._admission.reserve(work.request, now)
        except OverBudget:
            if not self._in_flight:
                caps = "limits.max_cost_usd, limits.max_run_cost_usd"
                self.stop = Stop(4, "cost_cap", f"the next request might exceed the cost cap ({caps})")
            return None
        except CheckpointFailed as error:  # of the limit that jobs share
            # What is in flight is brought home first; then `run` raises it.
            self._fault = error
            self.stop = Stop(error.exit_code, error.kind, str(error))
            return None
        if not isinstance(reserved, Reservation):
            self._wake_at = min(self._wake_at, now + reserved)
            return None
        claim = self._recorder.claim(work, reserved)
        self._in_flight[claim.number] = _InFlight(work, claim, reserved)
        return claim

    # ---- settling

    def _settle(self, attempt: Attempt, now: float) -> None:
        """Take in one attempt: bill it, record it, and decide what becomes of its row."""
        flight = self._in_flight.pop(attempt.number)
        work, result, reserved = flight.work, attempt.result, flight.reserved
        self._recorder.release(attempt.number)
        if result is None:
            self._admission.withdraw(reserved)
            self._waiting.put(work, self._pause.until)
            return
        charge = bill(result, self._price, reserved.worst, reserved.most_tokens)
        if isinstance(result, Failure) and not result.sent:
            self._admission.withdraw(reserved)
        else:
            self._admission.settle(reserved, charge, now - attempt.latency)
        self._recorder.bill(result, work, charge)
        record = record_of(attempt, result, work.request, work.history, charge, self._price)
        if result.retry_after is not None:
            left = max(0.0, result.retry_after - attempt.since_head)
            self._pause_for(left, now, stops=isinstance(result, Reply) or decide(result) is not Decision.STOP)
        if isinstance(result, Reply):
            self._usable(now)
            self._concurrency.answered(reserved.taken_at, len(self._in_flight) + 1)
            for refused, held in self._first_refusals.answered(work):
                self._slow_down(refused, held, now)
            self._recorder.record(work, State.ANSWERED if charge.known is not None else State.UNPRICED, record)
            return
        work.history = type(work.history).of(record)
        work.failure = record
        self._failed(work, result, record, reserved, now)

    def _failed(self, work: Work, failure: Failure, record: dict[str, Any], reserved: Reservation, now: float) -> None:
        decision = decide(failure)
        for refused, held in self._first_refusals.failed(failure, work.failures + 1, reserved):
            self._slow_down(refused, held, now)
        if decision is Decision.FAIL:
            self._usable(now)
            self._recorder.record(work, State.FAILED, _last(record))
            return
        if failure.sent:
            self._recorder.record(work, State.ATTEMPTED, record)
        if decision is Decision.STOP:
            self.stop = self.stop or Stop(5, failure.kind, told(failure.message, work.request))
            return
        may_fail = self._may_fail(work)
        speaks_of_outage = not failure.sent or (
            decision is Decision.RETRY and not may_fail and not self._first_refusals.are_all
        )
        self._outage.failed(now, counts=speaks_of_outage, resumes_at=self._pause.until)
        work.failures += 1
        work.first_failure = now if work.first_failure is None else work.first_failure
        # During an outage no attempt counts, but where no new row is left that could show its end.
        if decision is Decision.RETRY and (not self._outage.is_open or (may_fail and self._is_fed())):
            work.tries += 1
        if work.tries < self._retry.max_attempts:
            due = now + self._backoff.seconds(work.failures)
            self._waiting.put(work, self._pause.until if self._first_refusals.are_all else due)
        elif self._may_fail(work):
            self._fail(work)
        else:
            self._waiting.put_spent(work)

    def _slow_down(self, failure: Failure, reserved: Reservation, now: float) -> None:
        """Take in what a failure says of how fast the endpoint takes requests."""
        is_rate = failure.kind is ErrorKind.RATE_LIMITED
        is_capacity = failure.kind is ErrorKind.OUT_OF_CAPACITY or failure.http_status == 503
        # Once requests are spread at a rate, fewer in flight would only keep them from it.
        if is_capacity or (is_rate and not self._admission.is_pacing):
            self._concurrency.refused(reserved.taken_at, now)
        if is_rate:
            self._admission.refused(reserved, now, self._pause.until)

    def _may_fail(self, work: Work) -> bool:
        """Whether a row out of attempts has failed, rather than the endpoint."""
        # With a limit, those that this run may still send: one that sends but a few must come to an end with them.
        unfinished = min(self._recorder.unfinished, self._rows_left + len(self._in_flight) + len(self._waiting) + 1)
        return (
            work.history.failed_runs > 0
            or unfinished < _FEW_ROWS
            or (work.first_failure is not None and self._last_usable > work.first_failure)
        )

    def _fail(self, work: Work) -> None:
        kind = ErrorKind(work.failure["error_kind"])
        state = State.FAILED_PASSING if kind in PASSING else State.FAILED
        self._recorder.record(work, state, failed_record(work.failure))

    def _usable(self, now: float) -> None:
        """The endpoint works. If it was down, that was no fault of the rows that have failed since it last worked: they
        begin their attempts anew. Those that failed before are not forgiven again: they may be at fault themselves.
        """
        worked_before, self._last_usable = self._last_usable, now
        if self._outage.usable():
            self._waiting.begin_anew(now, failed_since=worked_before)

    def _pause_for(self, seconds: float, now: float, *, stops: bool) -> None:
        """Keep a Retry-After, this run and the next ones. One that is too long stops the run, unless more does."""
        self._pause.extend(now + seconds)
        self._admission.pause(now + seconds)
        self._recorder.pause(seconds)
        if stops and seconds > self._retry.max_elapsed_seconds:
            self.stop = self.stop or Stop(
                5, "retry_after", f"the endpoint asks for a pause of {seconds:.0f} s, longer than"
                " retry.max_elapsed_seconds",
            )  # fmt: skip

    # ---- the end

    def in_doubt_usd(self) -> Decimal:
        """What the requests in flight may cost at most, in USD: all that is known of them where the journal fails."""
        return sum((flight.reserved.worst or Decimal(0) for flight in self._in_flight.values()), Decimal(0))

    def _show(self, now: float) -> None:
        self.progress.in_flight = len(self._in_flight)
        self.progress.waiting = len(self._waiting)
        self.progress.paused_seconds = max(0.0, self._pause.until - now)
        self._observe(self.progress)


def _last(record: dict[str, Any]) -> dict[str, Any]:
    """The record of an attempt that is its row's failure at once."""
    return {**record, "failed_runs": record["failed_runs"] + 1}
