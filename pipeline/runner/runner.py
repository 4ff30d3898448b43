"""The loop that sends: admit, record, send, receive.

One thread decides and records; the engine's threads only send. In each turn the outcomes that have come in, and the
claims of the requests that go out next, become durable in one commit; only then are those requests sent. So a slot is
free again only when its answer is on disk, and after a kill the open claims are exactly the requests in flight.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pipeline.catalogue import Price
from pipeline.client import Attempt, Pause, Task
from pipeline.config.models import LimitsConfig, RetryConfig
from pipeline.errors import ErrorKind
from pipeline.journal import ANSWERS, FAILURES, Claim, Event, Journal, State, lost_claims
from pipeline.limits import AdaptiveConcurrency, Outage
from pipeline.plan import TO_SEND, Plan
from pipeline.records import Failure, Reply
from pipeline.retry import PASSING, Backoff, Decision, decide
from pipeline.runner.admission import Admission, OverBudget, Reservation
from pipeline.runner.engine import Engine
from pipeline.runner.feed import Work
from pipeline.runner.progress import Progress, Stop, StopRequest
from pipeline.runner.settle import Bill, bill, failed_record, record_of
from pipeline.runner.waiting import WaitingRows

_FEW_ROWS = 5
_TICK_SECONDS = 0.5
_MOST_WAITING_A_SLOT = 2
_MOST_UNSENT_A_TURN = 1000


@dataclass(slots=True)
class _InFlight:
    work: Work
    claim: Claim
    sent_at: float
    reserved: Reservation


@dataclass(slots=True)
class _Group:
    """What the next commit makes durable."""

    events: list[Event] = field(default_factory=list)
    release: list[int] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    possibly: Decimal = Decimal(0)
    pause: tuple[float, float] | None = None


class Runner:
    """One run over the rows of a feed. `run` may be called once.

    Args:
        feed: the rows to send, in order (see `pipeline.runner.feed`).
        limit: the most rows to send; None for all.
        price, context_window: of the model, as far as known.
        started: when the run began, on `clock`; the deadline counts from then.
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
        started: float | None = None,
        observe: Callable[[Progress], None] = lambda progress: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._feed = feed
        self._plan = plan
        self._journal = journal
        self._engine = engine
        self._pause = pause
        self._limits = limits
        self._retry = retry
        self._settings = settings
        self._price = price
        self._rows_left = math.inf if limit is None else limit
        self._stop_request = stop_request
        self._observe = observe
        self._clock = clock
        self._started = clock() if started is None else started
        self._wall_clock = wall_clock

        self.progress = Progress()
        self.stop: Stop | None = None
        totals = journal.totals
        self._admission = Admission(
            limits,
            price=price,
            context_window=context_window,
            spent=totals.cost_usd + totals.possibly_billed_usd,
        )
        self._concurrency = AdaptiveConcurrency(limits.concurrency)
        self._backoff = Backoff(retry.initial_seconds, retry.max_seconds)
        self._outage = Outage(backoff=self._backoff.seconds, most_seconds=retry.max_elapsed_seconds)
        self._unfinished = plan.count(*TO_SEND)
        self._in_flight: dict[int, _InFlight] = {}
        self._waiting = WaitingRows()
        self._claim_numbers = itertools.count(1)
        self._put_back: Work | None = None
        self._probe_new = False
        self._last_usable = -math.inf
        self._group = _Group()
        self._wake_at = math.inf
        self._fed = False
        self._fault: Exception | None = None

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
            self._commit_and_send(claims, now)
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
            for attempt in self._engine.receive(max(0.0, until - now)):
                self._settle(attempt, self._clock())
        self._give_up_in_flight()
        self._show(self._clock())
        if self._fault is not None:
            raise self._fault
        return self.stop

    def _is_done(self) -> bool:
        return not self._waiting and self._put_back is None and (self._fed or self._rows_left <= 0)

    def _check_stops(self, now: float, deadline: float) -> None:
        if self.stop:
            return
        gives_up_at = self._outage.gives_up_at()
        if self._stop_request.signal is not None:
            self.stop = self._stop_request.stop()
        elif now >= deadline:
            self.stop = Stop(4, "deadline", f"limits.deadline_seconds ({self._limits.deadline_seconds:g}) is over")
        elif gives_up_at is not None and now >= gives_up_at:
            self.stop = Stop(
                5, "outage", "the endpoint has given no usable reply for"
                f" {self._retry.max_elapsed_seconds:g} s (retry.max_elapsed_seconds)",
            )  # fmt: skip

    # ---- admitting

    def _admit(self, now: float) -> list[Claim]:
        """The claims of all requests that may go out now. Sets when to look again."""
        self._wake_at = self._outage.gives_up_at() or math.inf
        if now < self._pause.until:
            self._wake_at = min(self._wake_at, self._pause.until)
            return []
        if not self._outage.is_open:
            for spent in self._waiting.take_spent(self._may_fail):
                self._fail(spent)
        claims: list[Claim] = []
        while len(self._in_flight) < self._concurrency.limit:
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
            return self._waiting.take()
        self._wake_at = min(self._wake_at, self._waiting.next_due)
        if len(self._waiting) >= _MOST_WAITING_A_SLOT * self._limits.concurrency:
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
                self._add(found)
                if len(self._group.events) >= _MOST_UNSENT_A_TURN:
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
        if not isinstance(reserved, Reservation):
            self._wake_at = min(self._wake_at, now + reserved)
            return None
        identity = (self._plan.number, work.position, work.row_id, work.request_hash, self._settings, work.content)
        worst = None if reserved.worst is None else str(reserved.worst)
        number = next(self._claim_numbers)
        claim = Claim(number, *identity, self._wall_clock(), worst, reserved.most_tokens, work.history.facts())
        self._in_flight[number] = _InFlight(work, claim, now, reserved)
        return claim

    # ---- recording

    def _commit_and_send(self, claims: list[Claim], now: float) -> None:
        group, self._group = self._group, _Group()
        if group.events or group.release or claims or group.pause:
            first = self._journal.commit(
                group.events, release=group.release, claims=claims, cost_usd=group.cost,
                possibly_billed_usd=group.possibly, pause=group.pause,
            )  # fmt: skip
            self._plan.take(first, group.events)
        if claims:
            self._engine.send([Task(claim.number, self._in_flight[claim.number].work.request) for claim in claims])

    def _add(self, event: Event) -> None:
        self._group.events.append(event)
        if event.state in ANSWERS:
            self.progress.succeeded += 1
            self._unfinished -= 1
        elif event.state in FAILURES:
            self.progress.failed += 1
            self._unfinished -= 1

    def _event(self, work: Work, state: State, record: dict[str, Any]) -> Event:
        identity = (work.row_id, work.request_hash, self._settings, work.content)
        return Event(self._plan.number, work.position, state, *identity, record)

    # ---- settling

    def _settle(self, attempt: Attempt, now: float) -> None:
        """Take in one attempt: bill it, record it, and decide what becomes of its row."""
        flight = self._in_flight.pop(attempt.number)
        work, result = flight.work, attempt.result
        self._group.release.append(attempt.number)
        if result is None:
            self._admission.settle(flight.reserved, Bill())
            self._waiting.put(work, self._pause.until)
            return
        charge = bill(result, self._price, flight.reserved.worst)
        self._admission.settle(flight.reserved, charge)
        self._group.cost += charge.known or 0
        self._group.possibly += charge.at_most or 0
        self._count(result, work, charge.known, charge.at_most)
        record = record_of(attempt, result, work.request, work.history, charge, self._price)
        if isinstance(result, Reply):
            self._usable(now)
            self._concurrency.answered(len(self._in_flight) + 1)
            self._add(self._event(work, State.ANSWERED if charge.known is not None else State.UNPRICED, record))
            return
        work.history = type(work.history).of(record)
        work.failure = record
        self._failed(work, result, record, flight.sent_at, now)

    def _failed(self, work: Work, failure: Failure, record: dict[str, Any], sent_at: float, now: float) -> None:
        decision = decide(failure)
        if failure.retry_after is not None:
            self._pause_for(failure.retry_after, now, stops=decision is not Decision.STOP)
        if decision is Decision.FAIL:
            self._usable(now)
            self._add(self._event(work, State.FAILED, _last(record)))
            return
        if failure.sent:
            self._add(self._event(work, State.ATTEMPTED, record))
        if decision is Decision.STOP:
            self.stop = self.stop or Stop(5, failure.kind, failure.message)
            return
        may_fail = self._may_fail(work)
        self._outage.failed(now, counts=not failure.sent or (decision is Decision.RETRY and not may_fail))
        if failure.kind in (ErrorKind.RATE_LIMITED, ErrorKind.OUT_OF_CAPACITY) or failure.http_status == 503:
            self._concurrency.refused(sent_at, now)
        work.failures += 1
        work.first_failure = now if work.first_failure is None else work.first_failure
        if decision is Decision.RETRY and (may_fail or not self._outage.is_open):
            work.tries += 1
        if work.tries < self._retry.max_attempts:
            self._waiting.put(work, now + self._backoff.seconds(work.failures))
        elif self._may_fail(work):
            self._fail(work)
        else:
            self._waiting.put(work)

    def _may_fail(self, work: Work) -> bool:
        """Whether a row out of attempts has failed, rather than the endpoint."""
        unfinished = min(self._unfinished, self._rows_left + len(self._in_flight) + len(self._waiting) + 1)
        return (
            work.history.failed_runs > 0
            or unfinished < _FEW_ROWS
            or (work.first_failure is not None and self._last_usable > work.first_failure)
        )

    def _fail(self, work: Work) -> None:
        kind = ErrorKind(work.failure["error_kind"])
        state = State.FAILED_PASSING if kind in PASSING else State.FAILED
        self._add(self._event(work, state, failed_record(work.failure)))

    def _usable(self, now: float) -> None:
        """The endpoint works. If it was down, that was no row's fault: all begin their attempts anew."""
        self._last_usable = now
        if self._outage.usable():
            self._waiting.begin_anew(now)

    def _pause_for(self, seconds: float, now: float, *, stops: bool) -> None:
        """Keep a Retry-After, this run and the next ones. One that is too long stops the run, unless more does."""
        self._pause.extend(now + seconds)
        wall = self._wall_clock()
        until = max(wall + seconds, self._group.pause[1] if self._group.pause else 0.0)
        self._group.pause = (wall, until)
        if stops and seconds > self._retry.max_elapsed_seconds:
            self.stop = self.stop or Stop(
                5, "retry_after", f"the endpoint asks for a pause of {seconds:.0f} s, longer than"
                " retry.max_elapsed_seconds",
            )  # fmt: skip

    def _count(self, result: Reply | Failure, work: Work, known: Decimal | None, at_most: Decimal | None) -> None:
        progress = self.progress
        if isinstance(result, Reply) or result.sent:
            progress.requests += 1
            progress.retries += work.history.attempts > 0
        if result.usage is not None:
            progress.prompt_tokens += result.usage.prompt_tokens or 0
            progress.completion_tokens += result.usage.completion_tokens or 0
        progress.cost_usd += known or 0
        progress.possibly_billed_usd += at_most or 0

    # ---- the end

    def in_doubt_usd(self) -> Decimal:
        """What the requests in flight may cost at most, in USD: all that is known of them where the journal fails."""
        return sum((flight.reserved.worst or Decimal(0) for flight in self._in_flight.values()), Decimal(0))

    def _give_up_in_flight(self) -> None:
        """What the drain did not bring home may have been billed, just as after a kill."""
        events, numbers, worst = lost_claims(flight.claim for flight in self._in_flight.values())
        self.progress.possibly_billed_usd += worst
        self.progress.requests += len(events)
        self._group.events += events
        self._group.release += numbers
        self._group.possibly += worst
        self._in_flight.clear()
        self._commit_and_send([], self._clock())

    def _show(self, now: float) -> None:
        self.progress.in_flight = len(self._in_flight)
        self.progress.waiting = len(self._waiting)
        self.progress.paused_seconds = max(0.0, self._pause.until - now)
        self._observe(self.progress)


def _last(record: dict[str, Any]) -> dict[str, Any]:
    """The record of an attempt that is its row's failure at once."""
    return {**record, "failed_runs": record["failed_runs"] + 1}
