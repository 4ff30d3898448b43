"""How many requests may be in flight: all that the job allows, and fewer where the endpoint pushes back."""

from __future__ import annotations

_CUT = 0.7
_GROWTH = 0.1


class AdaptiveConcurrency:
    """Cut once for each burst of refusals, grown only while every slot is in use. Times are monotonic seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._last_cut = float("-inf")
        self._answers = 0

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._limit))

    def refused(self, sent_at: float, now: float) -> None:
        """The endpoint asked to slow down. Requests sent before the last cut say nothing new."""
        if sent_at >= self._last_cut:
            self._limit = max(1.0, self._limit * _CUT)
            self._last_cut = now
            self._answers = 0

    def answered(self, in_flight: int) -> None:
        """A usable reply came while `in_flight` requests, itself included, were under way."""
        if self._limit >= self._most or in_flight < self.limit:
            return
        self._answers += 1
        if self._answers >= self.limit:
            self._answers = 0
            self._limit = min(self._most, self._limit + max(1.0, self._limit * _GROWTH))
