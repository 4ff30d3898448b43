"""The rate of an endpoint that refuses what is beyond it, without having said what it is."""

from __future__ import annotations

import math
from collections import deque

from pipeline.limits.rates import MINUTE, TRANSIT_SECONDS

_WINDOW = MINUTE + TRANSIT_SECONDS
_BUCKET_SECONDS = 0.25
_CREDIT_SECONDS = 0.1
_FEWEST = 4
_TOLERATED_SHARE = 0.015
_CLEAN_SHARE = 0.01
_SPARSE_SHARE = 0.1
_DENSE_SHARE = 0.2
_LONG_PAUSE_SECONDS = 5.0
_CUT = 0.9
_DEEPEST_CUT = 0.7
_FIRST_GROWTH = 0.02
_MOST_GROWTH = 0.16
_LONGEST_PATIENCE = 8 * MINUTE
_FIRST_HOLD_SECONDS = 0.25
_LONGEST_HOLD_SECONDS = 8.0


class LearnedRate:
    """Nothing is held back until more than a few requests have been refused for their rate. From then on requests are
    spread evenly at the rate that was accepted over the last minute: a limit over a minute comes to just that, and one
    over a shorter time shows in it soon.

    It goes in periods. One without refusals ends in a rate a little higher, and the next in one higher still; refusals
    bring it down again, and make the wait for the next trial longer. Where a lower rate has made refusals no rarer,
    they have another cause, and nothing is held back any more. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._per_second = math.inf
        self._next_at = -math.inf
        self._began = math.inf
        # [start of a quarter of a second, requests sent in it and not refused so far], for the last minute
        self._accepted: deque[list[float]] = deque()
        self._tolerated = _TOLERATED_SHARE
        self._growth = _FIRST_GROWTH
        self._step = MINUTE / 4
        self._patience = MINUTE / 2
        self._higher_rate, self._higher_share = math.inf, 1.0
        self._holds = 0
        self._is_open = True
        # The period: since when, how long, and what became of the requests that were sent in it.
        self._since = self._since_before = -math.inf
        self._period = MINUTE
        self._sent = self._refused = 0

    @property
    def is_pacing(self) -> bool:
        """Whether requests are spread at a learned rate."""
        return self._per_second < math.inf

    @property
    def per_minute(self) -> float:
        """The learned rate; infinite where nothing is held back."""
        return self._per_second * MINUTE

    def wait(self, now: float) -> float:
        """Seconds until the next request may go out."""
        if now >= self._since + self._period:
            self._review(now)
        # A request may come a little early, to make up for those that came late.
        return max(0.0, self._next_at - _CREDIT_SECONDS - now) if self.is_pacing else max(0.0, self._next_at - now)

    def take(self, now: float) -> None:
        """A request goes out."""
        if self._began == math.inf:
            self._began = self._since = now
        self._sent += 1
        self._next_at = max(self._next_at, now) + 1 / self._per_second
        if not self._accepted or self._accepted[-1][0] < _bucket(now):
            self._accepted.append([_bucket(now), 0.0])
        self._accepted[-1][1] += 1
        while self._accepted[0][0] + _BUCKET_SECONDS <= now - _WINDOW:
            self._accepted.popleft()

    def withdraw(self, taken_at: float) -> None:
        """The request never went out after all."""
        self._strike(taken_at)
        self._sent -= taken_at >= self._since

    def accepted(self, taken_at: float) -> None:
        """The endpoint dealt with a request, well or badly."""
        self._is_open = self._is_open or taken_at >= self._since_before

    def refused(self, taken_at: float, now: float, resumes_at: float) -> None:
        """The endpoint refused a request for its rate; `resumes_at` is when its Retry-After is over, if it sent one.

        Requests sent before the last change of the rate say nothing new.
        """
        self._strike(taken_at)
        if taken_at < self._since:
            return
        self._refused += 1
        # While it waits for long, spreading what comes after costs nothing.
        is_long = resumes_at - now >= _LONG_PAUSE_SECONDS
        if is_long or self._refused >= max(_FEWEST, self._sent * self._tolerated):
            self._slow_down(now, max(now, resumes_at))

    def _slow_down(self, now: float, resumes_at: float) -> None:
        self._lower(resumes_at)
        if self._is_open:
            self._holds = 0
        else:
            # Nothing has been accepted since the last time: the endpoint takes nothing at all for a while.
            self._holds += 1
            hold = min(_FIRST_HOLD_SECONDS * 2 ** (self._holds - 1), _LONGEST_HOLD_SECONDS)
            resumes_at = resumes_at if resumes_at > now else now + hold
        if resumes_at - now >= _LONG_PAUSE_SECONDS:
            self._step = self._patience = MINUTE
        self._next_at = max(self._next_at, resumes_at)
        self._is_open, self._since_before = False, self._since
        self._begin(now)

    def _review(self, now: float) -> None:
        """A period is over."""
        if self.is_pacing:
            if self._share <= _CLEAN_SHARE:
                self._per_second *= 1 + self._growth
                self._growth = min(2 * self._growth, _MOST_GROWTH)
                self._period = self._step
                self._higher_rate, self._higher_share = math.inf, 1.0
            else:
                self._lower(now)
        self._begin(now)

    def _lower(self, until: float) -> None:
        """Come down to the rate that was accepted, or let go where coming down has been of no use."""
        measured = self._measured(until)
        if measured is None:
            return
        if self.is_pacing:
            if self._per_second <= _CUT * self._higher_rate:
                if max(self._share, self._higher_share) < _SPARSE_SHARE and self._share > self._higher_share / 2:
                    self._let_go()
                    return
                self._higher_rate, self._higher_share = self._per_second, self._share
            is_partly_refused = self._is_open and self._share >= _DENSE_SHARE
            measured = min(self._per_second * (_CUT if is_partly_refused else 1.0), measured)
            measured = max(measured, self._per_second * _DEEPEST_CUT)
            if self._growth > _FIRST_GROWTH:
                self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
        self._per_second = measured
        self._growth = _FIRST_GROWTH
        self._period = self._patience

    def _let_go(self) -> None:
        self._per_second = math.inf
        self._tolerated = max(_TOLERATED_SHARE, 2 * self._share)
        self._higher_rate, self._higher_share = math.inf, 1.0
        self._period = MINUTE

    @property
    def _share(self) -> float:
        """The share of this period's requests that was refused."""
        return self._refused / max(1, self._sent)

    def _measured(self, until: float) -> float | None:
        """Requests accepted a second, over the minute before `until`; None where that says nothing yet."""
        seconds = min(_WINDOW, until - self._began)
        accepted = sum(count for start, count in self._accepted if start + _BUCKET_SECONDS > until - _WINDOW)
        if seconds <= 0 or (accepted < _FEWEST and seconds < MINUTE):
            return None
        return max(1.0, accepted) / seconds

    def _strike(self, taken_at: float) -> None:
        for bucket in self._accepted:
            if bucket[0] == _bucket(taken_at):
                bucket[1] -= 1

    def _begin(self, now: float) -> None:
        self._since = now
        self._sent = self._refused = 0


def _bucket(at: float) -> float:
    return at // _BUCKET_SECONDS * _BUCKET_SECONDS
