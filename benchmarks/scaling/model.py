"""A discrete simulation of runs that share machines, slots and rates.

It knows what a row costs at full speed, where many answers share a commit. A run that mostly waits takes more CPU than
it says, since each answer has a commit of its own then.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

EXACT_ROWS = 200_000
"""So many requests are simulated one by one; the rest goes on at the rate of the second half of them."""

WINDOW_SECONDS, BURST_SHARE = 60.25, 0.05
"""How the program spreads a rate: over a window, except for a burst (`pipeline.limits.rates`)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run takes of a machine: seconds of CPU for each run and each row, bytes on disk and in memory.

    `read` is for a row that belongs to another shard. `send_cores` is how many cores sending can use, `server` what the
    endpoint takes of the same machine for a request (0 if it is elsewhere).
    """

    start: float
    plan: float
    send: float
    publish: float
    finish: float
    read: float
    send_cores: float
    server: float = 0.0
    journal_bytes: float = 0.0
    output_bytes: float = 0.0
    memory_bytes: float = 0.0
    memory_row_bytes: float = 16.0


@dataclass(frozen=True, slots=True)
class Work:
    """One run: the rows it sends, those it only reads past, and what holds its requests up.

    Latencies are log-normal: `latency` is their mean in seconds, `sigma` the standard deviation of their logarithm.
    """

    rows: int
    slots: int
    latency: float = 0.0
    sigma: float = 0.0
    per_minute: float = math.inf
    read_past: int = 0


@dataclass(slots=True)
class Phase:
    """A part of a run: CPU seconds on at most `cores` cores, and seconds that pass however fast the machine is."""

    cpu: float
    cores: float
    least: float = 0.0

    @property
    def speed(self) -> float:
        """The cores that it uses on an idle machine."""
        alone = max(self.cpu / self.cores, self.least)
        return self.cpu / alone if alone else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from the first start to the last end, and CPU seconds of all runs together."""

    wall: float
    cpu: float


def schedule(work: Work, seed: int = 0) -> float:
    """Return the seconds from the first request to the last reply where only slots, latencies and the rate count."""
    exact = min(work.rows, EXACT_ROWS)
    chance = random.Random(seed)
    mean = math.log(work.latency) - work.sigma**2 / 2 if work.latency else 0.0
    per_second = work.per_minute / WINDOW_SECONDS
    burst = work.per_minute * BURST_SHARE
    free: list[float] = []
    half = end = 0.0
    for number in range(exact):
        start = heapq.heappop(free) if len(free) == work.slots else 0.0
        start = max(start, (number - burst) / per_second)
        heapq.heappush(free, start + (chance.lognormvariate(mean, work.sigma) if work.latency else 0.0))
        if number == exact // 2:
            half = start
        end = start
    a_row = (end - half) / (exact - exact // 2) if exact < work.rows else 0.0
    return max(free, default=0.0) + (work.rows - exact) * a_row


def phases(work: Work, costs: Costs, seed: int = 0) -> list[Phase]:
    """Return what a run does, one after the other."""
    past = work.read_past * costs.read
    return [
        Phase(costs.start + work.rows * costs.plan + past, 1.0),
        Phase(work.rows * (costs.send + costs.server), costs.send_cores, schedule(work, seed)),
        Phase(costs.finish + work.rows * costs.publish, 1.0),
    ]


def simulate(runs: Sequence[Work], costs: Costs, *, cores: float, at_once: int) -> Outcome:
    """Let runs share a machine of so many cores, `at_once` of them at a time, in order."""
    waiting: Iterator[list[Phase]] = (phases(work, costs, seed) for seed, work in enumerate(runs))
    active = list(itertools.islice(waiting, at_once))
    total = sum(phase.cpu for work in runs for phase in phases(replace(work, latency=0.0), costs))
    total -= sum(work.rows for work in runs) * costs.server
    now = 0.0
    while active:
        asked = sum(run[0].speed for run in active)
        share = min(1.0, cores / asked) if asked else 1.0
        step = min(_left(run[0], share) for run in active)
        now += step
        for run in active:
            _advance(run[0], share, step)
            if _left(run[0], share) < 1e-9:
                run.pop(0)
        ended = sum(not run for run in active)
        active = [run for run in active if run] + list(itertools.islice(waiting, ended))
    return Outcome(now, total)


def _left(phase: Phase, share: float) -> float:
    """Return the seconds that a phase still takes at its share of the cores."""
    return max(phase.cpu / (phase.cores * share) if phase.cpu else 0.0, phase.least)


def _advance(phase: Phase, share: float, seconds: float) -> None:
    """Take off what is done after so many seconds: where nothing but the endpoint holds it up, CPU is used evenly."""
    left = _left(phase, share)
    done = min(1.0, seconds / left) if left else 1.0
    phase.cpu *= 1 - done
    phase.least *= 1 - done
