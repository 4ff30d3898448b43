"""The end of a run that would wait forever."""

from __future__ import annotations

from pipeline.endings import StopKind
from pipeline.runner.progress import Stop
from pipeline.wording import counted

GRACE_SECONDS = 60.0


class Watchdog:
    """Detects that no result comes back any more.

    Every attempt ends within `limits.timeout_seconds`. But a thread may hang, for instance in the resolver, or an
    engine may have died. Only time that was spent waiting counts, iteration by iteration, so that a program that was
    stopped and continued is not considered hanging.
    """

    def __init__(self, timeout_seconds: float, turn_seconds: float) -> None:
        self._most = timeout_seconds + GRACE_SECONDS
        self._turn_seconds = turn_seconds
        self._silent = 0.0

    def waited(self, seconds: float, *, heard: bool) -> None:
        """Count a wait of so many seconds. `heard`: something came back, or there was nothing to wait for."""
        self._silent = 0.0 if heard else self._silent + min(seconds, self._turn_seconds)

    def stop(self, in_flight: int) -> Stop | None:
        """Return why the run has to end, once nothing has come back for too long; else None."""
        if self._silent < self._most:
            return None
        message = f"no result has come back for {self._silent:.0f} s from {counted(in_flight, 'request')} in flight"
        return Stop(StopKind.NO_PROGRESS, f"{message}, though each should end within limits.timeout_seconds")
