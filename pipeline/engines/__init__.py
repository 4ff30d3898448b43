"""Where the sending runs: `local` in threads of this process, `processes` in processes that do nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config.models import LimitsConfig

_MOST_PROCESSES = 4
"""One that decides keeps about three busy that send."""
_FEWEST_ROWS = 2_000
_FEWEST_IN_FLIGHT = 16
_FEWEST_A_MINUTE = 30_000


def processes_for(limits: LimitsConfig, rows: int) -> int:
    """How many processes a run takes that has so many rows to send.

    Several only pay where one core would be the limit: starting them takes a third of a second, and one process sends
    more than a thousand requests a second.
    """
    if limits.processes != "auto":
        return limits.processes
    is_small = rows < _FEWEST_ROWS or limits.concurrency < _FEWEST_IN_FLIGHT
    is_slow = limits.requests_per_minute is not None and limits.requests_per_minute < _FEWEST_A_MINUTE
    return 1 if is_small or is_slow else min(_MOST_PROCESSES, _cores())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # what this process may use, on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
