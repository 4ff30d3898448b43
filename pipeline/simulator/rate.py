"""A limit on requests per minute that holds over every window of sixty seconds."""

from __future__ import annotations

from collections import deque

_MINUTE = 60.0


class RateWindow:
    """Remembers when requests were admitted. Below one request a minute, the window is as long as one request needs.

    `requests_per_minute` may be a fraction: 2.5 admits two requests in any minute. Times are seconds of a clock that
    never goes back.
    """

    def __init__(self, requests_per_minute: float) -> None:
        self._places = max(1, int(requests_per_minute))
        self._seconds = _MINUTE / min(1.0, requests_per_minute)
        self._admitted: deque[float] = deque()

    def admit(self, now: float) -> float:
        """Admit a request and return 0, or return the seconds to wait (nothing is remembered then)."""
        while self._admitted and self._admitted[0] <= now - self._seconds:
            self._admitted.popleft()
        if len(self._admitted) >= self._places:
            return self._admitted[0] + self._seconds - now
        self._admitted.append(now)
        return 0.0

    def withdraw(self) -> None:
        """Forget the last admitted request: it was refused for its rate after all."""
        self._admitted.pop()
