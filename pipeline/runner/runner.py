"""The loop that sends: admit, record, send, receive.

One thread decides and records; the engine's threads only send. In each turn the outcomes that have come in, and the
claims of the requests that go out next, become durable in one commit; only then are those requests sent. So a slot is
free again only when its answer is on disk, and after a kill the open claims are exactly the requests in flight.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.catalogue import Price
from pipeline.client import Attempt, Task
from pipeline.config.models import LimitsConfig, RetryConfig
from pipeline.endings import StopKind
from pipeline.errors import CheckpointFailed, ErrorKind
from pipeline.journal import Claim, Event, Journal, Outcome, State
from pipeline.limits import RAMP_STEP_SECONDS, AdaptiveConcurrency, Outage, Pause, Servers, ramp
from pipeline.plan import SUCCEEDED, Plan
from pipeline.records import Failure, Reply
from pipeline.retry import PASSING, Backoff, Decision, decide
from pipeline.runner.admission import Admission, OverBudget, Reservation
from pipeline.runner.engine import Engine
from pipeline.runner.feed import Work, refused_last
from pipeline.runner.first_refusals import FirstRefusals
from pipeline.runner.progress import Progress, Stop, StopRequest
from pipeline.runner.recorder import Recorder
from pipeline.runner.settle import bill, failed_record, record_of, told
from pipeline.runner.verdict import Action, Left, Verdicts, is_busy, is_of_outage, is_over_rate
from pipeline.runner.waiting import WaitingRows
from pipeline.runner.watchdog import Watchdog
from pipeline.wording import lasting

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedLimit

_TICK_SECONDS = 0.5
_PASSED_BY = frozenset({StopKind.DEADLINE, StopKind.OUTAGE, StopKind.RETRY_AFTER})
"""Stops that mean nothing any more once every row has an outcome."""
_TIMED_OUT = frozenset({504, 524})
_MOST_WAITING_A_SLOT = 2
_MOST_WAITING_AMID_OUTAGE = 1000
_MOST_UNSENT_A_TURN = 1000


@dataclass(slots=True)
class _InFlight:
    work: Work
    claim: Claim
    reserved: Reservation
    answers_before: int
    server: int = 0
    is_probe: bool = False

    def task(self, *, fresh: bool) -> Task:
        """What an engine is given of it."""
        fresh = fresh or self.is_probe
        return Task(self.claim.number, self.work.request, self.reserved.send_by, fresh, server=self.server)


class Runner:
    """One run over the rows of a feed. `run` may be called once.

    Args:
        feed: the rows to send, in order (see `pipeline.runner.feed`).
        limit: the most rows to send; None for all.
        price, context_window: of the model, as far as known.
        started: when the run began, on `clock`; the deadline counts from then.
        shared: the limit that this job has in common with others.
        servers: the equal servers behind the job's queue, where there are several; `pause` has one for each.
        observe: called every half second or so, and at the end.
        poll: called in every turn with the time on `clock`; it may call `hold` and `change_limits`.
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
        servers: Servers | None = None,
        started: float | None = None,
        observe: Callable[[Progress], None] = lambda progress: None,
        poll: Callable[[float, Runner], None] = lambda now, runner: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._pause = pause
        self._limits = limits
        self._retry = retry
        self._price = price
        self._rows_left = math.inf if limit is None else limit
        self._stop_request = stop_request
        self._observe = observe
        self._poll = poll
        self._is_held = False
        self._clock = clock
        self._started = clock() if started is None else started

        # With a limit, the first rows are meant, in the input's order.
        self._feed = feed if limit is not None else refused_last(feed, lambda: self._verdicts.has_answered)
        self.stop: Stop | None = None
        self._recorder = Recorder(journal, plan, settings, wall_clock)
        totals = journal.totals
        self._admission = Admission(
            limits,
            price=price,
            context_window=context_window,
            spent=totals.cost_usd + totals.possibly_billed_usd,
            shared=shared,
            exceeded=totals.excess,
        )
        self._servers = servers
        self._concurrency = AdaptiveConcurrency(limits.concurrency)
        self._backoff = Backoff(retry.initial_seconds, retry.max_seconds)
        self._outage = Outage(backoff=self._backoff.seconds, most_seconds=retry.max_elapsed_seconds)
        self._verdicts = Verdicts(self._outage, max_attempts=retry.max_attempts, is_new=not plan.count(*SUCCEEDED))
        self._watchdog = Watchdog(limits.timeout_seconds, _TICK_SECONDS)
        self._in_flight: dict[int, _InFlight] = {}
        self._waiting = WaitingRows()
        self._put_back: Work | None = None
        self._probe_new = False
        self._first_refusals = FirstRefusals()
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

    def hold(self, on: bool) -> None:
        """Send nothing new while it is on. That time does not count towards an outage."""
        now = self._clock()
        if on != self._is_held:
            self._is_held = on
            self._outage.hold(now) if on else self._outage.go_on(now)

    def change_limits(self, limits: LimitsConfig, sent: Iterable[tuple[float, float]]) -> None:
        """Go by other limits from now on; `sent` is what counts against a rate that is new, as in `remember`."""
        self._limits = limits
        self._concurrency.set_most(limits.concurrency)
        in_flight = [flight.reserved for flight in self._in_flight.values()]
        self._admission.change(limits, self._clock(), sent, in_flight)

    # ---- the loop

    def run(self) -> Stop | None:
        """Send until every row has an outcome or something stops the run; returns what stopped it."""
        observed = drained = -math.inf
        while True:
            now = self._clock()
            self._poll(now, self)
            deadline = self._started + (self._limits.deadline_seconds or math.inf)
            self._check_stops(now, deadline)
            claims = [] if self.stop else self._admit(now)
            self._recorder.commit(claims)
            if claims:
                # Over kept connections a probe would only learn that they are gone, one with each.
                is_probe = self._outage.is_open
                self._engine.send([self._in_flight[claim.number].task(fresh=is_probe) for claim in claims])
            if not self.stop:
                drained = -math.inf
            elif drained == -math.inf:
                drained = now + self._limits.drain_seconds
                observed = -math.inf  # who watches hears of it at once
            if now - observed >= _TICK_SECONDS:
                observed = now
                self._recorder.check_journal()
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
        if self.stop and self.stop.kind in _PASSED_BY and self._has_finished():
            self.stop = None
        self._recorder.give_up(flight.claim for flight in self._in_flight.values())
        for work in self._verdicts.refusals.left():
            self._fail(work)
        self._in_flight.clear()
        self._recorder.commit([])
        self._show(self._clock())
        if self._fault is not None:
            raise self._fault
        return self.stop

    def _is_done(self) -> bool:
        return not self._waiting and self._put_back is None and self._is_fed()

    def _has_finished(self) -> bool:
        """Whether every row has an outcome, though the run was to stop: what was in flight brought the last ones."""
        if self._in_flight or self._waiting or self._put_back is not None:
            return False
        if not self._is_fed():
            self._put_back = self._next_new(self._clock())
        return self._is_done()

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
            self.stop = Stop(StopKind.DEADLINE, f"limits.deadline_seconds ({self._limits.deadline_seconds:g}) is over")
        elif gives_up_at is not None and now >= gives_up_at:
            self.stop = Stop(
                StopKind.OUTAGE,
                "the endpoint has given no usable reply for"
                f" {self._retry.max_elapsed_seconds:g} s (retry.max_elapsed_seconds); {self._outage.last_failure}",
            )
        elif (left := self._admission.paused_until() - now) > self._retry.max_elapsed_seconds:
            self.stop = Stop(
                StopKind.RETRY_AFTER,
                f"the endpoint asked a job of the same limits.shared for a pause with"
                f" {lasting(left)} left, longer than retry.max_elapsed_seconds",
            )
        elif hangs is not None:
            self.stop = hangs

    # ---- admitting

    def _admit(self, now: float) -> list[Claim]:
        """The claims of all requests that may go out now. Sets when to look again."""
        self._wake_at = self._outage.gives_up_at() or math.inf
        self._pause.extend(self._admission.paused_until())
        if self._is_held:
            return []
        if now < self._pause.until:
            self._wake_at = min(self._wake_at, self._pause.until)
            return []
        if not self._outage.is_open:
            left = self._left()
            for spent in self._waiting.take_spent(lambda work: self._verdicts.may_fail(work, left)):
                self._fail(spent)
        claims: list[Claim] = []
        slots = self._slots(now)
        self._first_refusals.begin_turn(len(self._in_flight), slots)
        while len(self._in_flight) < slots:
            server = 0 if self._servers is None else self._servers.choose(now)
            if server is None:
                assert self._servers is not None
                self._wake_at = min(self._wake_at, self._servers.opens_at())
                break
            # Of several servers each is probed by itself.
            is_down = self._outage.is_open and self._servers is None
            if is_down and (self._in_flight or now < self._outage.next_probe):
                self._wake_at = min(self._wake_at, math.inf if self._in_flight else self._outage.next_probe)
                break
            work = self._next(now)
            if work is None:
                break
            claim = self._claim(work, now)
            if claim is None:
                self._put_back = work
                break
            if self._servers is not None:
                flight = self._in_flight[claim.number]
                flight.server, flight.is_probe = server, self._servers.sent(server)
            claims.append(claim)
        return claims

    def _slots(self, now: float) -> int:
        """How many requests may be in flight now. Sets when there may be more."""
        if self._sending_since is None:
            self._sending_since = now
        ramped = ramp(now - max(self._sending_since, self._pause.until), self._limits.concurrency)
        if ramped < self._concurrency.limit:
            self._wake_at = min(self._wake_at, now + RAMP_STEP_SECONDS)
        return min(ramped, self._concurrency.limit, self._engine.slots)

    def _next(self, now: float) -> Work | None:
        """The row to send next: one whose wait is over, else a new one."""
        if self._put_back is not None:
            work, self._put_back = self._put_back, None
            return work
        if self._outage.is_open:
            # In turns: the rows that failed may be at fault themselves, and so may the next new one.
            self._probe_new = not self._probe_new
            has_room = len(self._waiting) < _MOST_WAITING_AMID_OUTAGE
            fresh = self._next_new(now) if (self._probe_new and has_room) or not self._waiting else None
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
            self.stop = Stop(StopKind.INTERNAL_ERROR, "the input could not be read on")
        self._fed = True
        return None

    def _claim(self, work: Work, now: float) -> Claim | None:
        """Reserve what a request needs, or say when to look again; a cap that is reached stops the run."""
        try:
            reserved = self._admission.reserve(work.request, now)
        except OverBudget as refusal:
            if not self._in_flight:
                self.stop = Stop(StopKind.COST_CAP, str(refusal))
            return None
        except CheckpointFailed as error:  # of the limit that jobs share
            # What is in flight is brought home first; then `run` raises it.
            self._fault = error
            self.stop = Stop(error.kind, str(error))
            return None
        if not isinstance(reserved, Reservation):
            self._wake_at = min(self._wake_at, now + reserved)
            return None
        claim = self._recorder.claim(work, reserved)
        self._in_flight[claim.number] = _InFlight(work, claim, reserved, self.progress.succeeded)
        return claim

    # ---- settling

    def _settle(self, attempt: Attempt, now: float) -> None:
        """Take in one attempt: bill it, record it, and decide what becomes of its row."""
        flight = self._in_flight.pop(attempt.number)
        work, result, reserved = flight.work, attempt.result, flight.reserved
        self._recorder.release(attempt.number)
        if self._servers is not None:
            self._servers.ended(flight.server, is_probe=flight.is_probe)
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
        if result.usage is not None and (most := self._admission.learn(work.request, result.usage)) is not None:
            over = (charge.known or Decimal(0)) - (reserved.worst or Decimal(0))
            self._recorder.exceeded(work.request.model, most, max(Decimal(0), over))
        record = record_of(attempt, result, work.request, work.history, charge, self._price)
        if result.retry_after is not None:
            self._pause_for(max(0.0, result.retry_after - attempt.since_head), now, flight.server)
        if isinstance(result, Reply):
            self.stop = self.stop or self._too_long(result, work)
            if self._servers is not None:
                self._servers.works(flight.server, has_answered=True)
            self._usable(now)
            self._answered(now)
            self._concurrency.answered(reserved.taken_at, len(self._in_flight) + 1)
            for refused, held in self._first_refusals.answered(work):
                self._slow_down(refused, held, now)
            self._recorder.record(work, State.ANSWERED if charge.known is not None else State.UNPRICED, record)
            return
        work.history = type(work.history).of(record)
        work.failure = record
        self._failed(flight, result, record, now)

    def _answered(self, now: float) -> None:
        """Rows that were held fail, and a stop that was only for want of an answer is taken back."""
        refused = self._verdicts.refusals.stop
        for work in self._verdicts.answered(now):
            self._fail(work)
        if self.stop is refused:
            self.stop = self._verdicts.refusals.stop

    def _failed(self, flight: _InFlight, failure: Failure, record: Outcome, now: float) -> None:
        work, reserved = flight.work, flight.reserved
        if self._servers is not None and self._is_of_server(flight, failure, self._servers, now):
            if failure.sent:
                self._recorder.record(work, State.ATTEMPTED, record)
            self._waiting.put(work, now)
            return
        if failure.kind is ErrorKind.TIMEOUT or failure.status in _TIMED_OUT:
            self._concurrency.timed_out(reserved.taken_at, now, self.progress.succeeded - flight.answers_before)
        for refused, held in self._first_refusals.failed(failure, work.failures + 1, reserved):
            self._slow_down(refused, held, now)
        verdict = self._verdicts.judge(
            failure,
            work,
            taken_at=reserved.taken_at,
            now=now,
            resumes_at=self._pause.until,
            left=self._left(),
            is_at_first=self._first_refusals.are_all,
        )
        self.stop = self.stop or verdict.stop or self._too_long(failure, work)
        if verdict.works:
            self._usable(now)
        for other in verdict.failing:
            self._fail(other)
        if verdict.action is Action.FAIL and verdict.kind not in PASSING:
            self._recorder.record(work, State.FAILED, _last(record))
            return
        if failure.sent:
            self._recorder.record(work, State.ATTEMPTED, record)
        if verdict.action is Action.AGAIN:
            due = now + self._backoff.seconds(work.failures)
            self._waiting.put(work, self._pause.until if self._first_refusals.are_all else due)
        elif verdict.action is Action.SPENT:
            self._waiting.put_spent(work)
        elif verdict.action is Action.FAIL:
            work.failure = record._replace(error_kind=verdict.kind)
            self._fail(work)

    def _is_of_server(self, flight: _InFlight, failure: Failure, servers: Servers, now: float) -> bool:
        """Whether a failure is the fault of one server alone, so that the row goes to another one and loses no attempt.

        A server's outage excuses a row once: else a row that every server fails at would never come to an end.
        """
        number = flight.server
        if decide(failure) is Decision.REFUSE:
            message = told(failure.message, flight.work.request)
            return servers.refuses(number, message) and servers.is_any_left
        if not is_of_outage(failure):
            servers.works(number, has_answered=False)
            return False
        servers.is_out(number, now, is_probe=flight.is_probe)
        if not servers.is_any_up or number in flight.work.excused_by:
            return False
        flight.work.excused_by.add(number)
        return True

    def _left(self) -> Left:
        # With a limit, the rows that this run may still send: one that sends but a few must come to an end with them.
        sendable = self._rows_left + len(self._in_flight) + len(self._waiting) + 1
        held = self._verdicts.refusals.held
        return Left(int(min(self._recorder.unfinished - held, sendable)), self._is_fed())

    def _slow_down(self, failure: Failure, reserved: Reservation, now: float) -> None:
        """Take in what a failure says of how fast the endpoint takes requests."""
        # What comes amid an outage says nothing of a rate.
        is_rate = is_over_rate(failure) and not self._outage.is_open
        # Once requests are spread at a rate, fewer in flight would only keep them from it.
        if is_busy(failure) and not (failure.kind is ErrorKind.RATE_LIMITED and self._admission.explains_refusals):
            self._concurrency.refused(reserved.taken_at, now)
        if is_rate:
            self._admission.refused(reserved, now, self._pause.until)

    def _fail(self, work: Work) -> None:
        kind = ErrorKind(work.failure.error_kind or "")
        state = State.FAILED_PASSING if kind in PASSING else State.FAILED
        self._recorder.record(work, state, failed_record(work.failure))

    def _usable(self, now: float) -> None:
        """The endpoint works. If it was down, that was no fault of the rows that have failed since it last worked: they
        begin their attempts anew. Those that failed before are not forgiven again: they may be at fault themselves.
        """
        worked_before = self._verdicts.works(now)
        if worked_before is not None:
            self._waiting.begin_anew(now, failed_since=worked_before)
            self._admission.begin_anew(now)

    def _pause_for(self, seconds: float, now: float, server: int) -> None:
        """Keep a Retry-After, this run and the next ones."""
        if self._servers is not None:
            self._pause.extend(now + seconds, server)
            self._recorder.pause(seconds, self._servers.name(server))
            return
        self._pause.extend(now + seconds)
        self._admission.pause(now + seconds)
        self._recorder.pause(seconds)

    def _too_long(self, result: Reply | Failure, work: Work) -> Stop | None:
        """Why the run stops, where the pause that the endpoint asks for is longer than it waits."""
        if result.retry_after is None or result.retry_after <= self._retry.max_elapsed_seconds:
            return None
        if self._servers is not None and self._pause.until - self._clock() <= self._retry.max_elapsed_seconds:
            return None  # another server does not have to wait
        words = f": {told(result.message, work.request)}" if isinstance(result, Failure) else ""
        return Stop(
            StopKind.RETRY_AFTER,
            f"the endpoint asks for a pause of {lasting(result.retry_after)}, longer than"
            f" retry.max_elapsed_seconds{words}",
        )

    # ---- the end

    def in_doubt(self) -> int:
        """How many requests are in flight: how they ended is not known where the journal fails."""
        return len(self._in_flight)

    def in_doubt_usd(self) -> Decimal:
        """What the requests in flight may cost at most, in USD: all that is known of them where the journal fails."""
        return sum((flight.reserved.worst or Decimal(0) for flight in self._in_flight.values()), Decimal(0))

    def _show(self, now: float) -> None:
        self.progress.in_flight = len(self._in_flight)
        self.progress.in_doubt_usd = self.in_doubt_usd()
        self.progress.waiting = len(self._waiting)
        self.progress.paused_seconds = max(0.0, self._pause.until - now)
        self.progress.trouble = self._outage.trouble(now)
        self._observe(self.progress)


def _last(record: Outcome) -> Outcome:
    """The record of an attempt that is its row's failure at once."""
    return record._replace(failed_runs=record.failed_runs + 1)
