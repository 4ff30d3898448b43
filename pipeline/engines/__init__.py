"""Where requests are sent from: `local` uses a thread of this process, `processes` dedicated worker processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from pipeline.limits import MAX_IN_FLIGHT

if TYPE_CHECKING:
    from pipeline.config.models import EndpointConfig, JobConfig, LimitsConfig

_MOST_IN_THREADS = 256
_MOST_PROCESSES = 4
"""One process that decides keeps about three busy that send."""
_FEWEST_ROWS = 2_000
_FEWEST_IN_FLIGHT = 16
_FEWEST_A_MINUTE = 30_000


class Demand(Struct, frozen=True):
    """What a run asks of the machine. At most `in_flight` requests are under way at a time, and never more than
    `most_in_flight`, even if `concurrency` is raised while the run sends.
    """

    concurrency: int | Literal["auto"]
    in_flight: int
    most_in_flight: int
    processes: int
    """How many there are, the one that decides included."""
    has_given_processes: bool
    """Whether the job says how many processes there are."""
    is_standard: bool
    """Whether each request needs a thread."""
    is_simulated: bool
    """Whether this machine holds the other end of each connection."""

    @classmethod
    def of(cls, config: JobConfig, rows: int) -> Demand:
        """Return what a job asks for that has so many rows to send."""
        limits, most = config.limits, most_in_flight(config.endpoint)
        return cls(
            limits.concurrency,
            min(most_asked(limits), most, rows),
            most,
            processes_for(config, rows),
            limits.processes != "auto",
            config.endpoint.transport == "standard",
            config.endpoint.is_simulator,
        )


def processes_for(config: JobConfig, rows: int) -> int:
    """Return how many processes a run uses for `rows` rows to send.

    Several processes pay off only if one core would be the limit: starting them takes a third of a second, and one
    process sends more than a thousand requests per second. Images would be held by two of them, and it is reading and
    hashing them that takes the time.
    """
    limits = config.limits
    if limits.processes != "auto":
        return limits.processes
    is_small = rows < _FEWEST_ROWS or most_asked(limits) < _FEWEST_IN_FLIGHT
    is_slow = limits.requests_per_minute is not None and limits.requests_per_minute < _FEWEST_A_MINUTE
    return 1 if is_small or is_slow or config.prompt.images else min(_MOST_PROCESSES, _cores())


def most_in_flight(endpoint: EndpointConfig) -> int:
    """Return the most requests a run can have in flight, even if `limits.concurrency` is raised while it sends.

    The standard transport blocks, so each request needs a thread.
    """
    return _MOST_IN_THREADS if endpoint.transport == "standard" else MAX_IN_FLIGHT


def most_asked(limits: LimitsConfig) -> int:
    """Return how many requests in flight the job asks for at most."""
    return MAX_IN_FLIGHT if limits.concurrency == "auto" else limits.concurrency


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # what this process may use, on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
