"""Endpoints with a rate that the job does not know, in virtual time: how much of it is used, how much is refused."""

from __future__ import annotations

import math
import random
import tempfile
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol
from unittest import mock

from pipeline.errors import ErrorKind
from pipeline.records import Failure, Reply, Usage
from pipeline.retry import Backoff
from pipeline.runner import Stop
from tests.support.virtual import Answer, Bench

START = 1000.0
REFUSAL_SECONDS = 0.05


class Limit(Protocol):
    """A limit on requests, as endpoints keep them."""

    def __init__(self, per_minute: int) -> None: ...

    def admit(self, now: float) -> float:
        """Let a request in and give 0, or give the seconds until one would be let in."""


class Sliding:
    """So many in any minute; what pipeline.simulator.rate keeps."""

    seconds = 60.0

    def __init__(self, per_minute: int) -> None:
        self._places = math.floor(per_minute * self.seconds / 60)
        self._let_in: deque[float] = deque()

    def admit(self, now: float) -> float:
        while self._let_in and self._let_in[0] <= now - self.seconds:
            self._let_in.popleft()
        if len(self._let_in) >= self._places:
            return self._let_in[0] + self.seconds - now
        self._let_in.append(now)
        return 0.0


class EachSecond(Sliding):
    """A sixtieth of it in any second."""

    seconds = 1.0


class Fixed:
    """So many from one full minute to the next; the run begins amid one."""

    def __init__(self, per_minute: int) -> None:
        self._places = per_minute
        self._minute = -1
        self._let_in = 0

    def admit(self, now: float) -> float:
        minute = math.floor((now + 17) / 60)
        if minute != self._minute:
            self._minute, self._let_in = minute, 0
        if self._let_in >= self._places:
            return (minute + 1) * 60 - 17 - now
        self._let_in += 1
        return 0.0


class Bucket:
    """Tokens that drip at the rate into a bucket, which holds those of six seconds."""

    burst_seconds = 6.0

    def __init__(self, per_minute: int) -> None:
        self._per_second = per_minute / 60
        self._level = self._most = self._per_second * self.burst_seconds
        self._at = START

    def admit(self, now: float) -> float:
        self._level = min(self._most, self._level + (now - self._at) * self._per_second)
        self._at = now
        if self._level < 1:
            return (1 - self._level) / self._per_second
        self._level -= 1
        return 0.0


class FullBucket(Bucket):
    """A bucket that holds those of a whole minute."""

    burst_seconds = 60.0


class Leaky:
    """nginx's limit_req: so many beyond an even flow, which drains at the rate (ngx_http_limit_req_module.c)."""

    burst = 5

    def __init__(self, per_minute: int) -> None:
        self._per_second = per_minute / 60
        self._excess = 0.0
        self._at = START

    def admit(self, now: float) -> float:
        excess = max(0.0, self._excess - (now - self._at) * self._per_second + 1)
        if excess > self.burst:
            return (excess - self.burst) / self._per_second
        self._excess, self._at = excess, now
        return 0.0


@dataclass
class Endpoint:
    """A scripted endpoint: its limit, a log-normal latency, and refusals by chance, and of some rows at first."""

    limit: Limit | None
    latency: float
    says_when: bool = True
    chance: float = 0.0
    chance_at_first: float = 0.0
    refusal: Failure = field(default_factory=lambda: Failure(ErrorKind.RATE_LIMITED, "no", http_status=429))
    pause: float | None = None
    """The Retry-After of a refusal that is none of the limit's."""
    SPREAD: ClassVar[float] = 0.4
    log: list[tuple[float, bool]] = field(default_factory=list)
    """(seconds since the start, whether it was let in)"""
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def __call__(self, prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        wait = self.limit.admit(now) if self.limit else 0.0
        chance = self.chance_at_first if self.chance_at_first and attempt == 1 else self.chance
        is_refused = wait > 0 or self._random.random() < chance
        self.log.append((now - START, not is_refused))
        if is_refused:
            retry_after = float(math.ceil(wait)) if self.limit and self.says_when else self.pause
            return self.refusal._replace(retry_after=retry_after), REFUSAL_SECONDS
        latency = self.latency * math.exp(self._random.gauss(0.0, self.SPREAD))
        return Reply("yes", "text", None, Usage(10, 5, 15, "{}")), latency

    def accepted(self, since: float = 0.0) -> int:
        return sum(is_let_in for at, is_let_in in self.log if at >= since)

    def refused_share(self, since: float) -> float:
        late = [is_let_in for at, is_let_in in self.log if at >= since]
        return late.count(False) / len(late)


LIMITS = (Sliding, Fixed, Bucket, FullBucket, EachSecond)


def finish(endpoint: Endpoint, concurrency: int, rows: int, **limits: Any) -> tuple[Stop | None, float]:
    """Run a job; gives what stopped it, and after how many seconds. The journal is in memory where that can be: it
    syncs at every turn, which is not what these tests are about.
    """
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    # The same waits each time: with random ones, two of a hundred runs use less than 95% of a rate.
    seeded = mock.patch("pipeline.runner.runner.Backoff", partial(Backoff, source=random.Random(1)))
    with tempfile.TemporaryDirectory(dir=memory) as directory, seeded:
        bench = Bench(Path(directory), rows, endpoint)
        stop = bench.run(concurrency=concurrency, **limits)
        bench.journal.close()
    return stop, bench.clock.now - START


def play(endpoint: Endpoint, concurrency: int, rows: int, seconds: float) -> None:
    """Run a job with more rows than can be answered."""
    stop, _ = finish(endpoint, concurrency, rows, deadline_seconds=seconds, drain_seconds=1.0)
    assert stop is not None
    assert stop.kind == "deadline"


def measure(
    limit: type[Limit], says_when: bool, per_minute: int, concurrency: int, seconds: float = 300.0
) -> tuple[float, float]:
    """Which share of what was allowed was used, and of the requests after the first minute which share was refused."""
    latency = min(1.0, concurrency / (per_minute / 60) / 2)
    endpoint = Endpoint(limit(per_minute), latency, says_when)
    allowed = per_minute * seconds / 60
    play(endpoint, concurrency, math.ceil(allowed * 3), seconds)
    return endpoint.accepted() / allowed, endpoint.refused_share(60)
