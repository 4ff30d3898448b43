"""The rate of an endpoint that refuses requests beyond a rate limit without announcing it."""

from __future__ import annotations

import math
from collections import deque

from pipeline.limits.rates import MINUTE

_STEP_SECONDS = 30.0
_STEP_REQUESTS = 50
_MIN_ACCEPTED = 4
_FIRST_GROWTH = 0.01
_TOLERATED_SHARE = 0.015
_CREDIT_SECONDS = 0.2
_PATIENCE_SECONDS = 90.0
"""For a minute, a burst that was accepted at the start looks like a high rate; then the learned rate has to help."""
_MAX_GRANTED_SHARE = 0.9
_GRANTED_BESIDE = 5


class LearnedRate:
    """An adaptive rate limit, derived from refusals. Times are monotonic seconds.

    Nothing is delayed until more than a few requests are refused for their rate. From then on requests are spread
    evenly at the rate that was accepted over the last minute, whatever window the endpoint itself uses. While few are
    refused, the rate is raised in steps, each twice as large as the one before. So the limit is probed gently, and one
    that was learned by chance is forgotten within minutes.

    A learned rate that is the cause makes refusals rare. If requests are still refused after 90 seconds without a
    raise, the refusals have another cause: the rate is dropped, and twice the refused share of the last minute is
    tolerated from then on.
    """

    def __init__(self) -> None:
        self._per_second = math.inf
        self._growth = _FIRST_GROWTH
        self._granted: float | None = None
        self._next_at = self._changed_at = -math.inf
        self._helped_at = math.inf
        self._began_at: float | None = None
        # When requests of the last minute were let in: all of them, the refused ones, and those that were never sent.
        self._let_in: deque[float] = deque()
        self._refused: deque[float] = deque()
        self._withdrawn: deque[float] = deque()
        self._sent_since = self._refused_since = 0

    @property
    def explains_refusals(self) -> bool:
        """Whether requests are spread at a learned rate, or refusals are known to have another cause than the load."""
        return self._per_second < math.inf or self._granted is not None

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may go out."""
        if now >= self._changed_at + _STEP_SECONDS and self._sent_since >= _STEP_REQUESTS:
            self._change(self._per_second * (1 + self._growth), 2 * self._growth, now)
            self._helped_at = now
        return max(0.0, self._next_at - now)

    def take(self, now: float) -> None:
        """Count a request that goes out."""
        if self._began_at is None:
            self._began_at = self._helped_at = now
        self._forget(now)
        self._let_in.append(now)
        self._sent_since += 1
        # A small delay is made up for.
        self._next_at = max(self._next_at, now - _CREDIT_SECONDS) + 1 / self._per_second

    def outage_ended(self, now: float) -> None:
        """Forget what was sent during an outage, which says nothing about a rate. A learned rate stays."""
        for times in (self._let_in, self._refused, self._withdrawn):
            times.clear()
        self._sent_since = self._refused_since = 0
        if self._began_at is not None:
            self._began_at = self._changed_at = self._helped_at = now

    def withdraw(self, taken_at: float) -> None:
        """Forget a request that was not sent after all."""
        self._withdrawn.append(taken_at)

    def refused(self, taken_at: float, now: float, resumes_at: float) -> None:
        """Count a request that was refused for its rate; `resumes_at` is the end of the pause that the endpoint asked
        for.

        A request that was let in before the last change of the rate is ignored.
        """
        self._refused.append(taken_at)
        if taken_at < self._changed_at:
            return
        self._refused_since += 1
        if self._refused_since <= self._tolerated() or self._began_at is None:
            return
        self._forget(now)
        if self._per_second == math.inf:
            self._helped_at = now
        sent = len(self._let_in) - len(self._withdrawn)
        share = len(self._refused) / max(1, sent)
        if now - self._helped_at > _PATIENCE_SECONDS and share > _TOLERATED_SHARE:
            self._granted = min(2 * share, _MAX_GRANTED_SHARE)
            self._change(math.inf, _FIRST_GROWTH, now)
            self.outage_ended(now)
            return
        accepted = sent - len(self._refused)
        # Nothing is accepted until the pause is over, so the time until then counts.
        seconds = min(MINUTE, max(now, resumes_at) - self._began_at)
        if accepted >= _MIN_ACCEPTED and seconds > 0:
            self._change(min(self._per_second, accepted / seconds), _FIRST_GROWTH, now)

    def _tolerated(self) -> float:
        """Return how many of the requests since the last change may be refused."""
        if self._granted is None:
            return _TOLERATED_SHARE * self._sent_since
        return _GRANTED_BESIDE + self._granted * self._sent_since

    def _change(self, per_second: float, growth: float, now: float) -> None:
        self._per_second, self._growth, self._changed_at = per_second, growth, now
        self._sent_since = self._refused_since = 0

    def _forget(self, now: float) -> None:
        for times in (self._let_in, self._refused, self._withdrawn):
            while times and times[0] <= now - MINUTE:
                times.popleft()
