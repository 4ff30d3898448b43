"""The throughput, progress and failures of a run, which it writes down for `status`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from pipeline.limits import Trouble
from pipeline.plan import FailureKinds
from pipeline.records import JsonObject
from pipeline.runner import Progress

_RATE_SECONDS = 60.0


class Tracker:
    """Follows a run: how fast it has been over the last minute, when a request last came to an end, why rows failed.

    `to_send` is the number of rows that the run sends, `failed_before` are the failed rows that it leaves alone,
    `where` names the endpoint, `has_marks` is as for `input_row_id`.
    """

    def __init__(
        self,
        to_send: int,
        failed_before: FailureKinds,
        *,
        where: str = "",
        has_marks: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._to_send = to_send
        self._failed_before = failed_before
        self._where = where
        self._has_marks = has_marks
        self._clock = clock
        self._wall_clock = wall_clock
        self._finished: deque[tuple[float, int]] = deque()
        self._seen = (0, 0)
        self.last_progress_at: float | None = None

    def see(self, progress: Progress) -> None:
        """Take in the figures; called now and then."""
        now, finished = self._clock(), progress.succeeded + progress.failed
        self._finished.append((now, finished))
        while len(self._finished) > 2 and self._finished[1][0] <= now - _RATE_SECONDS:
            self._finished.popleft()
        if (progress.requests, finished) != self._seen:
            self._seen = (progress.requests, finished)
            self.last_progress_at = self._wall_clock()

    def facts(self, progress: Progress) -> JsonObject:
        """Return what is known now, as JSON. Timestamps are in Unix seconds."""
        rate = self._rate()
        left = self._to_send - progress.succeeded - progress.failed
        return {
            "recent_rows_per_second": rate,
            "eta_seconds": left / rate if rate else None,
            "in_flight": progress.in_flight,
            "concurrency": progress.slots,
            "waiting": progress.waiting,
            "paused_seconds": progress.paused_seconds,
            "quota": progress.quota and {"cause": progress.quota.cause, "until": progress.quota.until},
            "last_progress_at": self.last_progress_at,
            "trouble": self._trouble(progress.trouble),
            "errors": (self._failed_before + progress.failures).facts(has_marks=self._has_marks),
        }

    def _trouble(self, trouble: Trouble | None) -> JsonObject | None:
        if trouble is None:
            return None
        return {
            "where": self._where,
            "cause": trouble.cause,
            "failures": trouble.failures,
            "seconds": round(trouble.lasts, 1),
            "gives_up_in_seconds": round(trouble.gives_up_in, 1),
        }

    def _rate(self) -> float | None:
        if len(self._finished) < 2:
            return None
        (since, before), (now, finished) = self._finished[0], self._finished[-1]
        return (finished - before) / (now - since) if now > since else None
