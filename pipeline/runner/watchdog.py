"""The end of a run that would wait for ever."""

from __future__ import annotations

from pipeline.endings import StopKind
from pipeline.runner.progress import Stop
from pipeline.wording import counted

GRACE_SECONDS = 60.0


class Watchdog:
    """Every attempt is over within `limits.timeout_seconds`, and its result comes back then: a thread may hang all the
    same, in the resolver for instance, or an engine may have died.

    Only time that was spent waiting counts, turn by turn, so that a program that was stopped and goes on is not taken
    for one that hangs.
    """

    def __init__(self, timeout_seconds: float, turn_seconds: float) -> None:
        self._most = timeout_seconds + GRACE_SECONDS
        self._turn_seconds = turn_seconds
        self._silent = 0.0

    def waited(self, seconds: float, *, heard: bool) -> None:
        """A turn is over: so long was waited, and something came back or there was nothing to wait for."""
        self._silent = 0.0 if heard else self._silent + min(seconds, self._turn_seconds)

    def stop(self, in_flight: int) -> Stop | None:
        """Why the run has to end, once nothing has come back for too long."""
        if self._silent < self._most:
            return None
        message = f"no result has come back for {self._silent:.0f} s from {counted(in_flight, 'request')} in flight"
        return Stop(StopKind.NO_PROGRESS, f"{message}, though each should end within limits.timeout_seconds")
