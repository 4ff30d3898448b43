"""The end of an attempt: bill it, record it, and act on the verdict about its row."""

from __future__ import annotations

from collections.abc import Sized
from decimal import Decimal

from pipeline.client import Attempt
from pipeline.errors import ErrorKind
from pipeline.journal import Outcome, State
from pipeline.limits import Servers
from pipeline.records import Failure, Reply
from pipeline.retry import PASSING, Decision, decide
from pipeline.runner.accounting import Charge, charge_of, failed_record, record_of
from pipeline.runner.admission import Admission
from pipeline.runner.asking import Asking, with_answers
from pipeline.runner.feed import Work
from pipeline.runner.flight import Flight
from pipeline.runner.messages import loggable
from pipeline.runner.pace import Pace
from pipeline.runner.recorder import Recorder
from pipeline.runner.rows import RowQueue
from pipeline.runner.stops import Stops
from pipeline.runner.verdict import Action, Verdicts, is_of_outage


class Settler:
    """Processes the attempts that an engine returns. Times are monotonic seconds.

    `in_flight` holds the requests that are still with the engine.
    """

    def __init__(
        self,
        in_flight: Sized,
        *,
        rows: RowQueue,
        pace: Pace,
        recorder: Recorder,
        admission: Admission,
        verdicts: Verdicts,
        stops: Stops,
        asking: Asking | None = None,
    ) -> None:
        self._in_flight = in_flight
        self._waiting = rows.waiting
        self._rows = rows
        self._pace = pace
        self._recorder = recorder
        self._admission = admission
        self._verdicts = verdicts
        self._stops = stops
        self._asking = asking

    def settle(self, flight: Flight, attempt: Attempt, now: float) -> None:
        """Bill an attempt, record it, and decide what happens to its row."""
        work, result, reserved = flight.work, attempt.result, flight.reserved
        self._recorder.release(attempt.number)
        self._pace.ended(flight)
        if result is None:
            self._admission.withdraw(reserved)
            self._waiting.put(work, self._pause_ends)
            return
        price = self._admission.price(work.request.model)
        charge = charge_of(result, price, reserved.worst, reserved.most_tokens)
        if isinstance(result, Failure) and not result.sent:
            self._admission.withdraw(reserved)
        else:
            self._admission.settle(reserved, charge, now - attempt.latency)
        self._recorder.bill(result, work, charge)
        self._learn_excess(flight, result, charge)
        record = record_of(attempt, result, work.request.max_tokens, work.history, charge, price)
        if result.retry_after is not None:
            seconds = max(0.0, result.retry_after - attempt.since_head)
            self._recorder.pause(seconds, self._pace.pause_until(now + seconds, flight))
        if isinstance(result, Reply):
            self._stops.pause_asked(result, work, self._pace.pause_left(now), now)
            self._answered(flight, attempt.latency, now)
            self._take(work, record, now)
            return
        record = with_answers(record, work.history)
        work.history = type(work.history).of(record)
        work.failure = record
        self._failed(flight, result, record, now)

    def fail(self, work: Work) -> None:
        """Record that a row has failed, by its last attempt."""
        kind = ErrorKind(work.failure.error_kind or "")
        state = State.FAILED_PASSING if kind in PASSING else State.FAILED
        self._recorder.record(work, state, failed_record(work.failure))

    @property
    def _pause_ends(self) -> float:
        return self._pace.pause.until

    def _learn_excess(self, flight: Flight, result: Reply | Failure, charge: Charge) -> None:
        """Record what a request was billed beyond the assumed maximum."""
        request = flight.work.request
        if result.usage is None:
            return
        most = self._admission.learn(request.model, flight.reserved.bounds, result.usage)
        if most is not None:
            over = (charge.known or Decimal(0)) - (flight.reserved.worst or Decimal(0))
            self._recorder.exceeded(request.model, most, max(Decimal(0), over))

    def _answered(self, flight: Flight, latency: float, now: float) -> None:
        """Let held rows fail, and withdraw a stop that was only due to the lack of an answer."""
        if self._pace.servers is not None:
            self._pace.servers.works(flight.server, has_answered=True)
        self._usable(now)
        self._pace.quota.is_out = False
        refused = self._verdicts.refusals.stop
        for held in self._verdicts.answered(now):
            self.fail(held)
        self._stops.replace(refused, self._verdicts.refusals.stop)
        self._pace.answered(flight, len(self._in_flight), latency, now)

    def _take(self, work: Work, record: Outcome, now: float) -> None:
        """Record an answer. If it is not valid, the row may be asked for another one."""
        objection = None
        if self._asking is not None:
            record, objection = self._asking.judged(record, work.history)
        if self._asking is None or objection is None:
            self._recorder.record(work, State.UNPRICED if record.cost is None else State.ANSWERED, record)
            return
        work.history = type(work.history).of(record)
        if self._asking.asks_again(record):
            self._recorder.record(work, State.ATTEMPTED, record)
            self._waiting.put(work, now)
        else:
            self._recorder.record(work, State.FAILED, _last(record))

    def _failed(self, flight: Flight, failure: Failure, record: Outcome, now: float) -> None:
        work = flight.work
        if self._asking is not None and self._asking.is_in_form(work.request) and self._asking.falls_back(failure):
            self._recorder.record(work, State.ATTEMPTED, record)
            self._waiting.put(work, now)
            return
        if self._pace.servers is not None and self._is_of_server(flight, failure, self._pace.servers, now):
            if failure.sent:
                self._recorder.record(work, State.ATTEMPTED, record)
            self._waiting.put(work, now)
            return
        if failure.kind is ErrorKind.DAILY_QUOTA:
            seconds = self._stops.waits_for_quota(failure.retry_after, now)
            if seconds is not None:
                self._recorder.record(work, State.ATTEMPTED, record)
                self._recorder.pause(seconds, self._pace.pause_until(now + seconds, flight))
                self._waiting.put(work, self._pause_ends)
                return
        else:
            self._pace.quota.is_out = False
        self._pace.failed(flight, failure, now, self._recorder.progress.succeeded)
        are_first = self._pace.first_refusals.are_all
        verdict = self._verdicts.judge(
            failure,
            work,
            taken_at=flight.reserved.taken_at,
            now=now,
            resumes_at=self._pause_ends,
            left=self._rows.left(len(self._in_flight)),
            is_at_first=are_first,
        )
        self._stops.add(verdict.stop)
        self._stops.pause_asked(
            failure, work, self._pace.pause_left(now), now, has_answered=self._verdicts.has_answered
        )
        if verdict.works:
            self._usable(now)
        for other in verdict.failing:
            self.fail(other)
        if verdict.action is Action.FAIL and verdict.kind not in PASSING:
            self._recorder.record(work, State.FAILED, _last(record))
            return
        if failure.sent:
            self._recorder.record(work, State.ATTEMPTED, record)
        if verdict.action is Action.AGAIN:
            due = self._pace.retry_at(work.failures, now)
            self._waiting.put(work, self._pause_ends if are_first else due)
        elif verdict.action is Action.SPENT:
            self._waiting.put_spent(work)
        elif verdict.action is Action.FAIL:
            work.failure = record._replace(error_kind=verdict.kind)
            self.fail(work)

    def _is_of_server(self, flight: Flight, failure: Failure, servers: Servers, now: float) -> bool:
        """Return whether one server alone is the cause of a failure, so that the row goes to another one and loses no
        attempt.

        A server's outage excuses a row once: otherwise a row that fails at every server would never end.
        """
        number = flight.server
        if decide(failure) is Decision.REFUSE:
            message = loggable(failure.message, flight.work.request)
            return servers.refuses(number, message) and servers.is_any_left
        if not is_of_outage(failure):
            servers.works(number, has_answered=False)
            return False
        servers.is_out(number, now, is_probe=flight.is_probe)
        if not servers.is_any_up or number in flight.work.excused_by:
            return False
        flight.work.excused_by.add(number)
        return True

    def _usable(self, now: float) -> None:
        """Record that the endpoint works. If that ends an outage, rows that have failed since it last worked start
        their attempts again.

        The outage was not their fault. Rows that failed before are not excused again: they may be the cause themselves.
        """
        worked_before = self._verdicts.works(now)
        if worked_before is not None:
            self._waiting.restart(now, failed_since=worked_before)
            self._admission.outage_ended(now)


def _last(record: Outcome) -> Outcome:
    """Return the record of an attempt that ends its row as a failure."""
    return record._replace(failed_runs=record.failed_runs + 1)
