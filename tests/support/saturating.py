"""Servers in virtual time that take so many requests at once and no more: beyond, only the latency grows."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

Best = Callable[[float], int]
"""The best number of requests in flight at a time in seconds."""
Work = Callable[[random.Random], float]
"""How many seconds a request takes of a server that has nothing else to do."""


def constant(seconds: float) -> Work:
    """Return requests that are all alike."""
    return lambda rng: seconds


def lognormal(seconds: float, sigma: float = 0.5) -> Work:
    """Return requests of that mean whose logarithms have the standard deviation `sigma`."""
    return lambda rng: seconds * math.exp(rng.gauss(0.0, sigma) - sigma**2 / 2)


def mixed(seconds: float) -> Work:
    """Return short prompts and long ones, nine times as long, in no order."""
    return lambda rng: rng.choice((0.2, 1.8)) * seconds * math.exp(rng.gauss(0.0, 0.3) - 0.045)


class Server(Protocol):
    """Takes requests, and gives back when each was sent as it is answered."""

    def __init__(self, best: Best) -> None: ...

    def send(self, work: float, now: float) -> None: ...

    def next_at(self) -> float:
        """When the next answer comes."""

    def take(self, now: float) -> float:
        """The answer that comes now: when its request was sent."""


class Sharing:
    """All requests at once, each as fast as alone until there are too many: a batch whose steps take longer."""

    def __init__(self, best: Best) -> None:
        self._best = best
        self._served = self._at = 0.0
        self._ends: list[tuple[float, int, float]] = []
        self._turns = itertools.count()

    def _speed(self) -> float:
        best, ends = self._best(self._at), len(self._ends)
        return best / ends if ends > best else float(ends > 0)

    def _serve(self, now: float) -> None:
        self._served += self._speed() * (now - self._at)
        self._at = now

    def send(self, work: float, now: float) -> None:
        self._serve(now)
        heapq.heappush(self._ends, (self._served + work, next(self._turns), now))

    def next_at(self) -> float:
        left = self._ends[0][0] - self._served
        return self._at + (left / self._speed() if left > 0 else 0.0)

    def take(self, now: float) -> float:
        self._serve(now)
        return heapq.heappop(self._ends)[2]


class Queueing:
    """So many at once, and the others in a queue: a server with a limit on its batch."""

    def __init__(self, best: Best) -> None:
        self._best = best
        self._queue: deque[tuple[float, float]] = deque()
        self._running: list[tuple[float, int, float]] = []
        self._turns = itertools.count()

    def _fill(self, now: float) -> None:
        while self._queue and len(self._running) < self._best(now):
            sent, work = self._queue.popleft()
            heapq.heappush(self._running, (now + work, next(self._turns), sent))

    def send(self, work: float, now: float) -> None:
        self._queue.append((now, work))
        self._fill(now)

    def next_at(self) -> float:
        return self._running[0][0]

    def take(self, now: float) -> float:
        sent = heapq.heappop(self._running)[2]
        self._fill(now)
        return sent


class Slots(Protocol):
    """What decides how many requests are in flight."""

    @property
    def limit(self) -> int: ...

    def flying(self, in_flight: int, now: float) -> None: ...

    def answered(self, latency: float, now: float) -> None: ...


class Fixed:
    """A number that never changes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def flying(self, in_flight: int, now: float) -> None: ...

    def answered(self, latency: float, now: float) -> None: ...


def play(slots: Slots, server: Server, work: Work, *, since: float, until: float, seed: int) -> tuple[float, float]:
    """Keep every slot in use until then; gives answers a second and their mean latency, of those after `since`."""
    rng = random.Random(seed)
    now = waited = 0.0
    in_flight = answers = 0
    while now < until:
        limit = slots.limit
        while in_flight < limit:
            server.send(work(rng), now)
            in_flight += 1
        slots.flying(in_flight, now)
        now = next_at = server.next_at()
        while next_at <= now + 1e-9:
            latency = now - server.take(now)
            in_flight -= 1
            slots.answered(latency, now)
            if now >= since:
                answers += 1
                waited += latency
            if not in_flight:
                break
            next_at = server.next_at()
    return answers / (until - since), waited / max(1, answers)
