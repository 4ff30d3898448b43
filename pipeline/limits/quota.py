"""The time for which a run waits for a quota, instead of ending."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from msgspec import Struct

_DAY = 86_400.0
_MARGIN_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 300.0
_LOOKS = 10
DAILY = "the daily quota is used up"


class QuotaNotice(Struct, frozen=True):
    """What a run waits for, and until when (Unix seconds)."""

    cause: str
    until: float


class QuotaWait:
    """The total time that a run may wait, `limits.wait_for_quota_seconds`. Times are monotonic seconds.

    `is_out` tells that a daily quota was used up when last checked. Then one request at a time is sent to check it.
    """

    def __init__(self, most_seconds: float, wall_clock: Callable[[], float] = time.time) -> None:
        self._most = self._left = most_seconds
        self._wall_clock = wall_clock
        self._until = self._out_since = -math.inf
        self._notice: QuotaNotice | None = None
        self.is_out = False

    def begins(self, seconds: float, now: float, cause: str, *, free: float = 0.0) -> bool:
        """Return whether the run waits that long from now on.

        A wait that is extended by at most `free` seconds does not count: requests that were in flight together ask for
        their waits one after the other.
        """
        end = now + seconds
        is_waiting = now < self._until
        more = end - max(now, self._until)
        if more > 0 and not (is_waiting and more <= free):
            if more > self._left:
                return False
            self._left -= more
        if more > 0:
            self._until = end
            self._notice = QuotaNotice(cause, self._wall_clock() + seconds)
        return True

    def looks_in(self, now: float) -> float | None:
        """Return in how many seconds to check a daily quota whose end is unknown; None if no time to wait is left.

        That is shortly after midnight UTC, when the quotas of most providers start again, and now and then before.
        """
        if now < self._until:
            return self._until - now
        if not self.is_out:
            self._out_since = now
        left = min(self._left, self._out_since + self._most - now)
        if left <= 0:
            return None
        midnight = _DAY - self._wall_clock() % _DAY + _MARGIN_SECONDS
        return min(left, midnight, max(1.0, min(_LONGEST_LOOK_SECONDS, self._most / _LOOKS)))

    def notice(self, now: float) -> QuotaNotice | None:
        """Return what the run waits for at the moment."""
        return self._notice if now < self._until else None

    @property
    def is_asked_for(self) -> bool:
        """Whether the job allows a run to wait at all."""
        return self._most > 0
