"""How fast requests are sent: how many may be in flight, after which pause, and to which of several servers."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from pipeline.errors import ErrorKind
from pipeline.limits import RAMP_STEP_SECONDS, InFlightLimit, Outage, Pause, QuotaWait, Servers, ramp
from pipeline.providers.gauges import Load
from pipeline.records import Failure
from pipeline.retry import Backoff
from pipeline.runner.admission import Admission, Reservation
from pipeline.runner.first_refusals import FirstRefusals, Refusal
from pipeline.runner.flight import Flight
from pipeline.runner.holding import Held, Holding
from pipeline.runner.verdict import is_busy, is_over_rate

_TIMED_OUT = frozenset({504, 524})
_TOO_MANY = 429


class Later(Struct, frozen=True):
    """Nothing is sent now. Look again `at` this moment (monotonic seconds), or once something has come back."""

    at: float = math.inf
    held: Held = Held.ROW


class Slots(Struct, frozen=True):
    """How many requests may be in flight, and when it may be more (monotonic seconds)."""

    count: int
    grows_at: float = math.inf


class Pace:
    """Everything that slows a run down, except rates and money, and what replies say about it. Times are monotonic
    seconds.

    `servers` are the equal servers behind the job's queue, if there are several; `pause` has one for each.
    """

    def __init__(
        self,
        concurrency: int | Literal["auto"],
        pause: Pause,
        outage: Outage,
        quota: QuotaWait,
        admission: Admission,
        servers: Servers | None,
        backoff: Backoff,
    ) -> None:
        self.pause = pause
        self.outage = outage
        self.quota = quota
        self.servers = servers
        self.first_refusals = FirstRefusals()
        self.in_flight = InFlightLimit(concurrency)
        self.holding = Holding()
        self._load_at = -math.inf
        self._backoff = backoff
        self._admission = admission
        self._sending_since: float | None = None
        self._is_held = False

    def hold(self, on: bool, now: float) -> None:
        """Send nothing new while it is on. That time does not count toward an outage."""
        if on != self._is_held:
            self._is_held = on
            self.outage.hold(now) if on else self.outage.go_on(now)

    @property
    def most_rows(self) -> int:
        """The number against which the rows that wait for another attempt are counted."""
        return self.in_flight.most_rows

    # ---- what may go out

    def opens_at(self, now: float) -> float:
        """Return when requests may go out: `now`, at the end of a pause, or infinity while the run is held."""
        self.pause.extend(self._admission.paused_until())
        if self._is_held:
            return math.inf
        return max(now, self.pause.until)

    def slots(self, now: float, most: int) -> Slots:
        """Return how many requests may be in flight, of the `most` that the engine has room for."""
        if self._sending_since is None:
            self._sending_since = now
        self.in_flight.make_room(most)
        ramped = ramp(now - max(self._sending_since, self.pause.until), self.in_flight.most)
        allowed = self.in_flight.limit
        return Slots(min(ramped, allowed, most), now + RAMP_STEP_SECONDS if ramped < allowed else math.inf)

    def server(self, now: float, in_flight: int, unsent: float) -> int | Later:
        """Return the number of the server for the next of `unsent` requests, 0 if there is only one.

        During an outage one probe is sent at a time, and so it is after a quota was used up. Several servers are probed
        separately.
        """
        if self.quota.is_out and in_flight:
            return Later()
        if self.servers is not None:
            server = self.servers.choose(now, unsent)
            return Later(self.servers.opens_at()) if server is None else server
        if self.outage.is_open and in_flight:
            return Later()
        if self.outage.is_open and now < self.outage.next_probe:
            return Later(self.outage.next_probe)
        return 0

    def sent(self, flight: Flight, server: int) -> None:
        """Count a request that is sent to a server."""
        if self.servers is not None:
            flight.server, flight.is_probe = server, self.servers.sent(server)

    def admitted(self, in_flight: int, held: Held, now: float) -> None:
        """Record how many requests are in flight after an iteration, and what the next one waits for."""
        self.holding.see(held, now)
        self.in_flight.flying(in_flight, now)

    def loaded(self, load: Load | None, now: float) -> None:
        """Learn from what the server says about its load, once."""
        if load is not None and load.at != self._load_at:
            self._load_at = load.at
            self.in_flight.queued(load.running, load.waiting, now)

    # ---- what replies say

    def ended(self, flight: Flight) -> None:
        """Count a request that is over."""
        if self.servers is not None:
            self.servers.ended(flight.server, is_probe=flight.is_probe)

    def answered(self, flight: Flight, in_flight: int, latency: float, now: float) -> None:
        """Learn from a usable reply that took `latency` seconds, while `in_flight` others are in flight."""
        self.in_flight.answered(flight.reserved.taken_at, in_flight + 1, latency, now)
        if self.servers is not None:
            self.servers.took(flight.server, latency)
        self._slow_down(self.first_refusals.answered(flight.work), now)

    def failed(self, flight: Flight, failure: Failure, now: float, answers: int) -> None:
        """Learn from a failure; `answers` is how many rows of the run have an answer."""
        reserved = flight.reserved
        if failure.kind is ErrorKind.TIMEOUT or failure.status in _TIMED_OUT:
            self.in_flight.timed_out(reserved.taken_at, now, answers - flight.answers_before)
        self._slow_down(self.first_refusals.failed(failure, flight.work.failures + 1, reserved), now)

    def _slow_down(self, refusals: list[Refusal], now: float) -> None:
        for failure, reserved in refusals:
            self._refused(failure, reserved, now)

    def _refused(self, failure: Failure, reserved: Reservation, now: float) -> None:
        # What comes amid an outage says nothing of a rate.
        is_rate = is_over_rate(failure) and not self.outage.is_open
        # Where the number in flight is found, too many of them explain a 503 or 529 better: what was accepted
        # on the way up would pass for a rate.
        is_rate = is_rate and not (self.in_flight.is_auto and failure.http_status != _TOO_MANY)
        # Once requests are spread at a rate, fewer in flight would only keep them from it.
        if is_busy(failure) and not (failure.kind is ErrorKind.RATE_LIMITED and self._admission.explains_refusals):
            self.in_flight.refused(reserved.taken_at, now)
        if is_rate:
            self._admission.refused(reserved, now, self.pause.until)

    def pause_until(self, until: float, flight: Flight) -> str | None:
        """Keep a Retry-After. Returns the server that it holds for; None if it holds for the whole endpoint."""
        if self.servers is not None:
            self.pause.extend(until, flight.server)
            return self.servers.name(flight.server)
        self.pause.extend(until)
        self._admission.pause(until)
        return None

    def retry_at(self, failures: int, now: float) -> float:
        """Return when a row that has failed so often (from 1) may be sent again."""
        return now + self._backoff.seconds(failures)

    def pause_left(self, now: float) -> float:
        """Return for how long no server can be asked; infinity if there is only one, which asked for the pause."""
        return math.inf if self.servers is None else self.pause.until - now
