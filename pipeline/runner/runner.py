"""The loop that sends: dispatch, record, send, receive.

One thread decides and records; the engine's threads only send. In each iteration, the outcomes that have come in and
the claims of the requests that are sent next become durable in one commit. Only then are those requests sent. So a slot
is free again only when its answer is on disk, and after a kill the open claims are exactly the requests in flight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from pipeline.config.models import LimitsConfig
from pipeline.endings import StopKind
from pipeline.journal import Journal, worst_of
from pipeline.limits import Outage, QuotaWait
from pipeline.plan import SUCCEEDED
from pipeline.records import Failure, Reply
from pipeline.retry import Backoff
from pipeline.runner.admission import Admission
from pipeline.runner.dispatcher import Dispatch, Dispatcher
from pipeline.runner.flight import Flight, worst_usd
from pipeline.runner.pace import Pace
from pipeline.runner.parts import Clocks, Destination, Observers, Rules, Workload
from pipeline.runner.pending import PendingCommit
from pipeline.runner.progress import Progress, Stop, StopRequest
from pipeline.runner.recorder import Recorder
from pipeline.runner.rows import RowQueue
from pipeline.runner.settler import Settler
from pipeline.runner.stops import Stops
from pipeline.runner.verdict import Verdicts
from pipeline.runner.watchdog import Watchdog

_TICK_SECONDS = 0.5
_ABANDON_SECONDS = 0.5
"""How long a run that waits no longer lets its senders say which requests were never sent."""
_MANY = 16
"""Fewer attempts than these are not worth a commit of their own, if more are at hand."""


class Runner:
    """One run over the rows of a workload. `run` may be called once.

    `stop_request` asks it to stop. It began at `started` (monotonic seconds), from which the deadline counts; None for
    now.
    """

    def __init__(
        self,
        workload: Workload,
        rules: Rules,
        destination: Destination,
        stop_request: StopRequest,
        *,
        observers: Observers | None = None,
        started: float | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        limits, retry, pause = rules.limits, rules.retry, destination.pause
        clocks, self._observers = clocks or Clocks(), observers or Observers()
        self._clock = clocks.monotonic
        self._engine = destination.engine
        self._load = destination.load
        self._drain_seconds = limits.drain_seconds
        self._stop_request = stop_request
        self._in_flight: dict[int, Flight] = {}
        journal, plan = workload.journal, workload.plan
        pending = PendingCommit(journal, plan, workload.cached, self._observers.recorded, workload.progress)
        self._recorder = Recorder(pending, clocks.wall)
        self._admission = Admission(
            limits,
            terms=rules.terms,
            spent=journal.totals.cost_usd + journal.totals.possibly_billed_usd + _worst_out(journal),
            by_run=pending.progress.cost_usd + pending.progress.possibly_billed_usd,
            shared=destination.shared,
            exceeded=journal.totals.excess,
        )
        backoff = Backoff(retry.initial_seconds, retry.max_seconds)
        self._outage = Outage(backoff=backoff.seconds, most_seconds=retry.max_elapsed_seconds)
        self._quota = QuotaWait(limits.wait_for_quota_seconds, clocks.wall)
        left = pause.until - self._clock()
        if left > retry.max_elapsed_seconds:
            self._quota.begins(left, self._clock(), "the endpoint asked an earlier run for a pause")
        self._verdicts = Verdicts(self._outage, max_attempts=retry.max_attempts, is_new=not plan.count(*SUCCEEDED))
        self._watchdog = Watchdog(limits.timeout_seconds, _TICK_SECONDS)
        self._stops = Stops(
            stop_request,
            self._outage,
            self._quota,
            deadline_seconds=limits.deadline_seconds,
            most_pause_seconds=retry.max_elapsed_seconds,
            started=self._clock() if started is None else started,
        )
        self._pace = Pace(
            limits.concurrency, pause, self._outage, self._quota, self._admission, destination.servers, backoff
        )
        self._rows = RowQueue(
            workload.feed,
            workload.limit,
            pace=self._pace,
            recorder=self._recorder,
            stops=self._stops,
            verdicts=self._verdicts,
            cached=workload.cached,
        )
        self._settler = Settler(
            self._in_flight,
            rows=self._rows,
            pace=self._pace,
            recorder=self._recorder,
            admission=self._admission,
            verdicts=self._verdicts,
            stops=self._stops,
            asking=rules.asking,
        )
        self._dispatcher = Dispatcher(
            self._in_flight,
            rows=self._rows,
            pace=self._pace,
            recorder=self._recorder,
            admission=self._admission,
            settler=self._settler,
            stops=self._stops,
            asking=rules.asking,
        )

    @property
    def progress(self) -> Progress:
        """How the run goes."""
        return self._recorder.progress

    def remember(self, sent: list[tuple[float, float]]) -> None:
        """Count what earlier runs sent against the rates: (seconds ago, tokens), oldest first."""
        self._admission.remember(sent, self._clock())

    def hold(self, on: bool) -> None:
        """Send nothing new while it is on. That time does not count toward an outage."""
        self._pace.hold(on, self._clock())

    def change_limits(self, limits: LimitsConfig, sent: Iterable[tuple[float, float]]) -> None:
        """Use other limits from now on; `sent` counts against a rate that is new, as in `remember`."""
        self._drain_seconds = limits.drain_seconds
        self._stops.deadline_seconds = limits.deadline_seconds
        self._pace.in_flight.ask(limits.concurrency)
        in_flight = [flight.reserved for flight in self._in_flight.values()]
        self._admission.change(limits, self._clock(), sent, in_flight)

    def in_doubt(self) -> int:
        """Return how many requests are in flight. If the journal fails, it is not known how they ended."""
        return len(self._in_flight)

    def in_doubt_usd(self) -> Decimal:
        """Return the maximum cost of the requests in flight, in USD. If the journal fails, nothing more is known of
        them.
        """
        return worst_usd(self._in_flight.values())

    def run(self) -> Stop | None:
        """Send until every row has an outcome or something stops the run. Returns what stopped it."""
        stops = self._stops
        observed = -math.inf
        drained: float | None = None
        while True:
            now = self._clock()
            self._observers.poll(now, self)
            if (over := self._engine.over) is not None:
                stops.add(Stop(StopKind.NO_SENDERS, over))
            hangs = self._watchdog.stop(len(self._in_flight))
            stops.check(now, shared_pause_until=self._admission.paused_until(), hangs=hangs)
            self._pace.loaded(self._load(), now)
            look_again = self._record_and_send(now)
            if not stops.stop:
                drained = None
            elif drained is None:
                drained = now + self._drain_seconds
                observed = -math.inf  # observers are told at once
                if stops.stop is not self._verdicts.refusals.stop:  # that one an answer may withdraw
                    self._pace.pause.extend(drained)  # what has no connection yet is not sent either
            if now - observed >= _TICK_SECONDS:
                observed = now
                self._recorder.check_journal()
                self._show(now)
            if not self._in_flight and (stops.stop or self._rows.is_empty):
                break
            if drained is not None and (now >= drained or self._stop_request.at_once):
                break
            until = min(look_again, stops.deadline) if drained is None else drained
            self._receive(now, min(now + _TICK_SECONDS, until))
        self._finish()
        return stops.stop

    def _record_and_send(self, now: float) -> float:
        """Commit what has come in with what is sent next, and send that. Returns when to look for more (monotonic
        seconds).
        """
        next_ones = Dispatch([], math.inf) if self._stops.stop else self._dispatcher.dispatch(now, self._engine.slots)
        claims = next_ones.claims
        self._recorder.commit(claims)
        if claims:
            # Over keep-alive connections a probe would only find out that one of them is gone.
            is_probe = self._outage.is_open
            self._engine.send([self._in_flight[claim.number].task(fresh=is_probe) for claim in claims])
        return next_ones.look_again

    def _receive(self, now: float, until: float) -> None:
        """Settle the attempts that have ended; wait until `until` for the first.

        If more than half of the requests in flight are answered, the senders have little left to do. So the first half
        is recorded and its slots are filled before the second is settled: recording and sending go on side by side. A
        failure may stop the run, so what ended with one is settled together.
        """
        attempts = self._engine.receive(max(0.0, until - now))
        self._watchdog.waited(self._clock() - now, heard=bool(attempts) or not self._in_flight)
        half = max(_MANY, len(self._in_flight) // 2)
        are_answers = all(isinstance(attempt.result, Reply) for attempt in attempts)
        for at, attempt in enumerate(attempts, 1):
            self._settler.settle(self._in_flight.pop(attempt.number), attempt, self._clock())
            if at % half == 0 and at < len(attempts) and are_answers:
                self._record_and_send(self._clock())

    def _abandon(self) -> None:
        """Wait no longer for what is in flight, but to learn what was never sent or is answered just now."""
        self._engine.abandon()
        left, until = len(self._in_flight), self._clock() + _ABANDON_SECONDS
        while left and (now := self._clock()) < until:
            for attempt in self._engine.receive(until - now):
                left -= 1
                result = attempt.result
                if isinstance(result, Failure) and result.sent:
                    continue
                ended = attempt if isinstance(result, Reply) else attempt._replace(result=None)
                self._settler.settle(self._in_flight.pop(attempt.number), ended, self._clock())

    def _finish(self) -> None:
        """Record what is left in flight as possibly billed, and raise the error that stopped the run, if any."""
        if self._in_flight:
            self._abandon()
        if self._stops.may_lapse and self._rows.ends_with(len(self._in_flight)):
            self._stops.lapse()
        self._recorder.give_up(flight.claim for flight in self._in_flight.values())
        for work in self._verdicts.refusals.left():
            self._settler.fail(work)
        self._in_flight.clear()
        self._recorder.commit([])
        self._show(self._clock())
        self._stops.raise_fault()

    def _show(self, now: float) -> None:
        self.progress.in_flight = len(self._in_flight)
        self.progress.in_doubt_usd = self.in_doubt_usd()
        self.progress.slots = min(self._pace.in_flight.limit, self._engine.slots)
        if self._pace.in_flight.is_auto:
            self.progress.limited_by = self._pace.holding.limited_by(self._pace.in_flight, self._engine.slots)
        self.progress.waiting = len(self._rows.waiting)
        self.progress.paused_seconds = 0.0 if self._stops.stop else max(0.0, self._pace.pause.until - now)
        self.progress.quota = self._quota.notice(now)
        self.progress.trouble = self._outage.trouble(now)
        self._observers.progressed(self.progress)


def _worst_out(journal: Journal) -> Decimal:
    """Return the maximum cost of the lines in open batches, in USD."""
    if not journal.totals.batches:
        return Decimal(0)
    return worst_of(journal.claims())
