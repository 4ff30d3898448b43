"""The number of requests in flight that is worth it, found while sending: as many as still make answers come faster.

The number is doubled until the answers per second hardly grow. From then on, rounds at the number found alternate with
rounds slightly above it, and what all of them show together moves it.

Prior art: TCP BBR (Cardwell et al., 2016) computes the number from the largest throughput and the latency without a
queue. Netflix's concurrency-limits and Envoy's adaptive concurrency use the gradient of latency. All of them keep the
best latency as a reference. Here it is measured again all the time, because how long a model takes depends on what it
is asked.
"""

from __future__ import annotations

import math

from pipeline.limits.corner import Corner, Level, find_corner
from pipeline.limits.rounds import Round

_START = 4
_DOUBLE = 2.0
_CLIMB_SHARE = 0.75
"""The climb ends where the corner is below this share of what is in flight: the last doubling brought less than half
of what it might have.
"""
_DOUBTS = 2
_CLIMB_SETTLING, _CLIMB_ERROR = 1.5, 0.12
_SETTLING, _ERROR = 2.0, 0.08
_LOW, _HIGH = 1.02, 1.25
_DIP = 0.85
"""Where nothing is known of what is below the corner, the low rounds go to look."""
_USED = 0.85
_KEPT = 24
_FAR = 4.5
_SURPRISE, _LEAST_SURPRISE = 4.0, 0.24
_ANEW = 0.35
_PROOFS = 2
_CLEAR_RISE = 0.1
_BEYOND = 1.5
_QUEUED_SHARE = 0.1
_MIN_QUEUED = 2
_CLEARLY_FEWER = 0.9
_BAR_SECONDS = 60.0
_MAX_BAR_SECONDS = 960.0


class AutoConcurrency:
    """The number of requests in flight, between 1 and `most`. Times are monotonic seconds.

    It has to be told how many are in flight after each iteration (`flying`), and of each usable reply (`answered`).
    Rounds in which slots are unused, because of a lack of rows or a rate, are ignored.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = float(min(_START, most))
        self._is_climbing = True
        self._is_high = False
        self._levels: list[Level] = []
        self._corner: Corner | None = None
        self._doubts = self._proofs = 0
        self._round: Round | None = None
        self._in_flight = 0
        self._bar = math.inf
        self._bar_until = -math.inf
        self._bar_seconds = _BAR_SECONDS

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(min(self._wanted(), self._most, self._bar)))

    @property
    def has_found(self) -> bool:
        """Whether more than this brings no more answers, as far as was seen."""
        return not self._is_climbing

    def set_most(self, most: int) -> None:
        """Change the maximum."""
        self._most = most

    def flying(self, in_flight: int, now: float) -> None:
        """Record that so many requests are in flight from now on."""
        self._in_flight = in_flight
        if now >= self._bar_until:
            self._bar = math.inf
        if self._round is None:
            self._begin(now)
        else:
            self._round.flying(in_flight, now)

    def answered(self, latency: float, now: float) -> None:
        """Count a usable reply that came after `latency` seconds."""
        if self._round is None or (found := self._round.answered(latency, now)) is None:
            return
        if found.in_flight >= _USED * self.limit:
            self._learn(found)
        self._begin(now)

    def pushed_back(self, limit: int, now: float) -> None:
        """Stay at `limit`, because the endpoint refuses some of the requests in flight.

        More is tried again after a minute, then after two, and so on.
        """
        self._settle_at(min(self._number, float(limit)))
        if now >= self._bar_until:
            self._bar_until = now + self._bar_seconds
            self._bar_seconds = min(2 * self._bar_seconds, _MAX_BAR_SECONDS)
        self._bar = float(limit)
        self._begin(now)

    def queued(self, running: float, waiting: float, now: float) -> None:
        """Learn how many requests the server works on, and how many wait for that: the waiting ones are too many."""
        if self._round is None or not self._round.has_settled:
            return
        if waiting < max(_MIN_QUEUED, _QUEUED_SHARE * (running + waiting)):
            return
        served = max(1.0, self._in_flight * running / (running + waiting))
        if self._is_climbing or served < _CLEARLY_FEWER * self._number:
            self._settle_at(min(self._number, served))
            self._begin(now)

    def _wanted(self) -> int:
        if self._is_climbing:
            return round(self._number)
        if not self._is_high:
            is_seen = self._corner is None or self._corner.is_seen
            return round(self._number * (_LOW if is_seen else _DIP))
        return max(round(self._number * _LOW) + 1, round(self._number * _HIGH))

    def _begin(self, now: float) -> None:
        settling, error = (_CLIMB_SETTLING, _CLIMB_ERROR) if self._is_climbing else (_SETTLING, _ERROR)
        self._round = Round(now, self._in_flight, self.limit, settling=settling, error=error)

    def _learn(self, found: Level) -> None:
        if self._is_climbing:
            self._climb(found)
            return
        corner = self._corner
        if corner is not None:
            excess = corner.excess(found)
            if abs(excess) > max(_SURPRISE * found.error, _LEAST_SURPRISE):
                self._restart(found, corner, excess)
                return
            if self._is_high and self._is_proven(found, corner):
                self._levels = [one for one in self._levels if one.in_flight <= corner.in_flight]
                self._remember(found)
                self._climb_to(found.in_flight * _BEYOND)
                return
        self._remember(found)
        self._corner = find_corner(self._levels)
        number = max(self._corner.in_flight, found.in_flight) if self._proofs else self._corner.in_flight
        self._move_to(number)
        self._is_high = not self._is_high

    def _climb(self, found: Level) -> None:
        """Double the number while that brings more answers. Two rounds have to show that it does not."""
        self._remember(found)
        if len(self._levels) > 1:
            corner = find_corner(self._levels)
            if corner.likely < _CLIMB_SHARE * found.in_flight:
                self._doubts += 1
                if self._doubts >= _DOUBTS:
                    self._settle_at(corner.in_flight)
                    self._corner = corner
                return
        self._doubts = 0
        self._move_to(self._number * _DOUBLE)

    def _is_proven(self, found: Level, corner: Corner) -> bool:
        """Return whether two high rounds in a row had no more than half of the latency that a full server has."""
        growth = corner.growth(found.in_flight)
        if growth <= _CLEAR_RISE:
            return False
        is_faster = corner.excess(found) < -growth / 2
        self._proofs = self._proofs + 1 if is_faster else 0
        return self._proofs >= _PROOFS

    def _restart(self, found: Level, corner: Corner, excess: float) -> None:
        """Climb again from below: the server has changed, or what it is asked."""
        self._levels = []
        served = found.in_flight * min(1.0, corner.latency / found.latency)
        self._climb_to(_ANEW * served if excess > 0 else self._number)

    def _climb_to(self, number: float) -> None:
        self._is_climbing, self._is_high = True, False
        self._corner = None
        self._doubts = self._proofs = 0
        self._move_to(number)

    def _settle_at(self, number: float) -> None:
        self._is_climbing = self._is_high = False
        self._corner = None
        self._doubts = self._proofs = 0
        self._move_to(number)

    def _move_to(self, number: float) -> None:
        self._number = min(max(1.0, number), float(self._most))

    def _remember(self, found: Level) -> None:
        least, most = found.in_flight / _FAR, found.in_flight * _FAR
        self._levels = [one for one in self._levels[1 - _KEPT :] if least <= one.in_flight <= most]
        self._levels.append(found)
