"""The adaptive limit of requests in flight: what the job allows, less at the start and if the endpoint pushes back."""

from __future__ import annotations

import math

_CUT = 0.7
_MAX_CUT = 0.25
_GROWTH = 0.1
_TOLERATED_SHARE = 0.1
_FEWEST = 2
_RAMP_START = 32
_RAMP_PER_SECOND = 1024
_RAMP_SECONDS = 2
RAMP_STEP_SECONDS = 1 / 64


def ramp(seconds: float, most: int) -> int:
    """Return how many requests may be in flight `seconds` after the sending began, or continued after a pause.

    No endpoint sees a thousand new connections at once. Still a thousand are in flight after one second, and `most`,
    however many that is, after two.
    """
    return _RAMP_START + math.floor(max(0.0, seconds) * max(_RAMP_PER_SECOND, most / _RAMP_SECONDS))


class AdaptiveConcurrency:
    """A limit that is cut once for each burst of refusals, and grows only while every slot is used. Times are monotonic
    seconds.

    It is adapted in rounds of as many answers as there are slots. A round in which a tenth is refused, at least two,
    ends in a cut. A round without a cut, with all slots used, ends in growth. So occasional refusals do not add up to a
    standstill.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._last_cut = -math.inf
        self._answers = 0
        self._refusals = 0

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._limit))

    def set_most(self, most: int) -> None:
        """Change the maximum. A limit that the endpoint has cut stays cut, and grows from there."""
        is_cut = self._limit < self._most
        self._most = most
        self._limit = min(self._limit, float(most)) if is_cut else float(most)

    def refused(self, sent_at: float, now: float) -> None:
        """Record that the endpoint asked to slow down. Requests sent before the last cut say nothing new."""
        self._push_back(sent_at, now, self._limit * _CUT)

    def timed_out(self, sent_at: float, now: float, answered: int) -> None:
        """Record that a request was not answered in time, while so many others were.

        A server may still work on requests that have timed out, so more than it completes in that time only lengthens
        its queue.
        """
        self._push_back(sent_at, now, min(self._limit * _CUT, max(answered, self._limit * _MAX_CUT)))

    def _push_back(self, sent_at: float, now: float, limit: float) -> None:
        if sent_at < self._last_cut:
            return
        self._refusals += 1
        if self._refusals >= max(_FEWEST, self.limit * _TOLERATED_SHARE):
            self._limit = max(1.0, limit)
            self._last_cut = now
            self._answers = self._refusals = 0

    def answered(self, sent_at: float, in_flight: int) -> None:
        """Count a usable reply that came while `in_flight` requests, including this one, were in flight."""
        if self._limit >= self._most and not self._refusals:
            return
        if sent_at < self._last_cut or in_flight < self.limit:
            return
        self._answers += 1
        if self._answers >= self.limit:
            self._answers = self._refusals = 0
            self._limit = min(self._most, self._limit + max(1.0, self._limit * _GROWTH))
