"""The choice of the requests that are sent next, within everything that slows a run down."""

from __future__ import annotations

import math

from msgspec import Struct

from pipeline.errors import CheckpointFailed
from pipeline.journal import Claim
from pipeline.runner.admission import Admission, OverBudget, Reservation
from pipeline.runner.asking import Asking
from pipeline.runner.feed import Work
from pipeline.runner.flight import Flight
from pipeline.runner.holding import Held
from pipeline.runner.pace import Later, Pace
from pipeline.runner.recorder import Recorder
from pipeline.runner.rows import MAX_IMAGE_BYTES, RowQueue
from pipeline.runner.settler import Settler
from pipeline.runner.stops import Stops


class Dispatch(Struct, frozen=True):
    """The claims of the requests that are sent now, and when to look for more (monotonic seconds)."""

    claims: list[Claim]
    look_again: float


class Dispatcher:
    """Chooses rows, reserves what their requests need, and adds them to `in_flight`. It sends nothing itself."""

    def __init__(
        self,
        in_flight: dict[int, Flight],
        *,
        rows: RowQueue,
        pace: Pace,
        recorder: Recorder,
        admission: Admission,
        settler: Settler,
        stops: Stops,
        asking: Asking | None,
    ) -> None:
        self._in_flight = in_flight
        self._rows = rows
        self._pace = pace
        self._recorder = recorder
        self._admission = admission
        self._settler = settler
        self._stops = stops
        self._asking = asking

    def dispatch(self, now: float, room: int) -> Dispatch:
        """Return the claims of all requests that may be sent now; the engine has room for `room` in flight."""
        gives_up_at = self._pace.outage.gives_up_at() or math.inf
        opens_at = self._pace.opens_at(now)
        if opens_at > now:
            self._pace.admitted(len(self._in_flight), Held.RATE, now)
            return Dispatch([], min(gives_up_at, opens_at))
        if not self._pace.outage.is_open:
            for spent in self._rows.take_spent(len(self._in_flight)):
                self._settler.fail(spent)
        slots = self._pace.slots(now, room)
        self._pace.first_refusals.begin_turn(len(self._in_flight), slots.count)
        claims: list[Claim] = []
        later = Later(held=Held.SLOT)
        while len(self._in_flight) < slots.count:
            claim = self._next(now)
            if isinstance(claim, Later):
                later = claim
                break
            claims.append(claim)
        self._pace.admitted(len(self._in_flight), later.held, now)
        return Dispatch(claims, min(gives_up_at, slots.grows_at, later.at))

    def _next(self, now: float) -> Claim | Later:
        in_flight = len(self._in_flight)
        server = self._pace.server(now, in_flight, self._rows.unsent(in_flight))
        if isinstance(server, Later):
            return server
        work = self._rows.next(now)
        if isinstance(work, Later):
            return work
        if self._asking is not None:
            self._asking.prepare(work)
        if not self._has_room_for_images(work):
            self._rows.put_back(work)
            return Later()
        reserved = self._reserve(work, now)
        if isinstance(reserved, Later):
            self._rows.put_back(work)
            return reserved
        claim = self._recorder.claim(work, reserved)
        flight = Flight(work, claim, reserved, self._recorder.progress.succeeded)
        self._in_flight[claim.number] = flight
        self._pace.sent(flight, server)
        return claim

    def _has_room_for_images(self, work: Work) -> bool:
        """Return whether the images in flight leave room for those of a row; one alone may be larger."""
        needed = work.request.image_bytes
        if not needed or not self._in_flight:
            return True
        held = sum(flight.work.request.image_bytes for flight in self._in_flight.values())
        return held + needed <= MAX_IMAGE_BYTES

    def _reserve(self, work: Work, now: float) -> Reservation | Later:
        """Reserve what a request needs, or return when to look again. A cap that is reached stops the run."""
        try:
            reserved = self._admission.reserve(work.request, now)
        except OverBudget as refusal:
            if not self._in_flight:
                self._stops.cap_reached(str(refusal))
            return Later()
        except CheckpointFailed as error:  # of the limit that jobs share
            self._stops.shared_limit_failed(error)
            return Later()
        return reserved if isinstance(reserved, Reservation) else Later(now + reserved, Held.RATE)
