"""A sender's permission to send, which ends by itself unless the run renews it.

A sender may be frozen or cut off without either side being told. So each sender asks the run to renew its lease every
second, and sends nothing without one. The sender counts the lease from the moment it asked, the run from the moment it
answered, which is later. So once a lease is over for the run, it is over for the sender.
"""

from __future__ import annotations

import math
import time
from collections import deque

from msgspec import Struct

from pipeline.limits import Pause

LEASE_SECONDS = 15.0
BEAT_SECONDS = 1.0
_BEATS_COMPARED = 10
_RUNNING: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Beat(Struct, frozen=True):
    """A sender asks for its lease to be renewed. It asked at `asked_at`, seconds of its own clocks."""

    asked_at: float
    asked_at_awake: float
    """The same moment on the clock that stands still while the machine sleeps."""


class Renewal(Struct, frozen=True):
    """The run renews a lease, at `at` (its monotonic clock) and `wall` (Unix seconds)."""

    beat: Beat
    at: float
    wall: float


class Paused(Struct, frozen=True):
    """For how many more seconds each server is not to be asked. Both sides tell the other."""

    seconds: tuple[float, ...]


class LeasedPause(Pause):
    """The endpoint's pauses, and one of its own while there is no lease. Also what is known of the run's clocks."""

    def __init__(self, servers: int) -> None:
        super().__init__(servers)
        self._ends_at = -math.inf
        self._offsets: deque[float] = deque(maxlen=_BEATS_COMPARED)
        self.wall_offset = 0.0
        """What is added to this machine's Unix time to get the run's."""

    def of(self, server: int) -> float:
        """Return when the pause of one server is over: never, until the lease is renewed."""
        return super().of(server) if running_clock() < self._ends_at else math.inf

    def renew(self, renewal: Renewal) -> None:
        """Extend the lease, and compare the clocks.

        The run looked at its clock after the sender had asked. So each comparison yields a number that is too small, by
        the time that the question took, and the largest is the nearest.
        """
        self._ends_at = max(self._ends_at, renewal.beat.asked_at + LEASE_SECONDS)
        self._offsets.append(renewal.beat.asked_at_awake - renewal.at)
        self.wall_offset = renewal.wall - time.time()

    def here(self, moment: float) -> float:
        """Return a moment of the run's monotonic clock on this machine's: that moment, or a little earlier."""
        return moment + max(self._offsets, default=-math.inf)


def running_clock() -> float:
    """Return the seconds of a clock that also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(_RUNNING)
