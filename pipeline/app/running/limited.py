"""What the limit on a run's requests in flight was, where their number was found while sending."""

from __future__ import annotations

import resource
import time

from msgspec import Struct

from pipeline.endings import LimitedBy

_BUSY = 0.85
"""From this share of a core on, a process that decides or sends has little time left."""


class Work(Struct, frozen=True):
    """CPU seconds of this process and of its ended children, at a moment in monotonic seconds."""

    own: float
    children: float
    at: float

    @classmethod
    def now(cls) -> Work:
        """Return what was used until now."""
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime, time.monotonic())

    def busy_since(self, before: Work, senders: int) -> float:
        """Return the share of a core that the busier of this process and its senders, by now ended, took."""
        seconds = max(1e-9, self.at - before.at)
        return max(self.own - before.own, (self.children - before.children) / max(1, senders)) / seconds


def of_machine(found: LimitedBy | None, *, room: int, most: int, busy: float) -> LimitedBy | None:
    """Return the limit, or this machine where that is behind it.

    Args:
        found: the limit as the run saw it.
        room: how many requests in flight it had room for.
        most: how many there may be, whatever the machine.
        busy: the share of a core that its busiest process took.
    """
    if (found is LimitedBy.CAP and room < most) or (found is LimitedBy.SERVER and busy >= _BUSY):
        return LimitedBy.MACHINE
    return found
