"""A runner over a journal, and an engine that sends nothing: it lets virtual time pass, so that every wait is exact."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.catalogue import Price, Terms
from pipeline.client import Attempt, Task
from pipeline.config.models import LimitsConfig, RetryConfig
from pipeline.errors import ErrorKind
from pipeline.journal import Event, Journal, Outcome, State
from pipeline.limits import Pause, Servers
from pipeline.limits.shared import SharedLimit
from pipeline.plan import Plan
from pipeline.records import Failure, Reply, Request, Usage
from pipeline.runner import (
    Clocks,
    Destination,
    Observers,
    Progress,
    Rules,
    Runner,
    Stop,
    StopRequest,
    Work,
    Workload,
)
from pipeline.runner.feed import History

PRICE = Price(Decimal("0.32"), Decimal("0.34"), "2025-06-11")
Answer = Reply | Failure
Script = Callable[[str, int, float], tuple[Answer | None, float]]
"""(prompt, which attempt of it, now) -> the result (None: held back by a pause) and its latency in seconds."""


def answered(prompt: str, attempt: int = 1, now: float = 0.0) -> tuple[Answer, float]:
    return Reply(f"answer to {prompt}", "text", None, Usage(10, 5, 15, "{}")), 1.0


def failed(kind: ErrorKind, **facts: Any) -> tuple[Answer, float]:
    return Failure(kind, "no", **facts), 1.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class ScriptedEngine:
    """Sends nothing: it lets virtual time pass. Checks at each send what has to hold then.

    Several servers have a script each, in place of the one.
    """

    def __init__(
        self, clock: Clock, script: Script, journal: Journal, pause: Pause, servers: Sequence[Script] = ()
    ) -> None:
        self.clock, self.script, self.journal, self.pause, self.servers = clock, script, journal, pause, servers
        self.sent: list[tuple[float, str]] = []
        self.attempts: Counter[str] = Counter()
        self.most_in_flight = 0
        self.at_send: Callable[[], None] = lambda: None
        self.never_ends = False
        self.is_over: str | None = None
        self._ends: list[tuple[float, int, Attempt]] = []
        self._handed: set[int] = set()
        """The tasks whose attempts were received, as far as they were not durable yet at the last send."""
        self._turns = itertools.count()

    @property
    def slots(self) -> int:
        return 1_000_000

    @property
    def over(self) -> str | None:
        return self.is_over

    def send(self, tasks: Sequence[Task]) -> None:
        open_claims = {number for (number,) in self.journal._connection.execute("SELECT number FROM claims")}
        assert {task.number for task in tasks} <= open_claims, "sent before its claim was durable"
        self.at_send()
        now = self.clock.now
        assert now >= self.pause.until, "sent before Retry-After was over"
        for task in tasks:
            prompt = str(task.request.messages[0]["content"])
            if now < self.pause.until:  # another sender has met a pause in this very moment
                heapq.heappush(self._ends, (now, next(self._turns), Attempt(task.number, None, now, now, 0.0)))
                continue
            self.attempts[prompt] += 1
            self.sent.append((now, prompt))
            script = self.servers[task.server] if self.servers else self.script
            result, latency = script(prompt, self.attempts[prompt], now)
            attempt = Attempt(task.number, result, now, now + latency, latency)
            heapq.heappush(self._ends, (now + latency, next(self._turns), attempt))
        self._handed &= open_claims
        self.most_in_flight = max(self.most_in_flight, len(self._ends) + len(self._handed))
        unknown = open_claims - self._handed - {attempt.number for _, _, attempt in self._ends}
        assert not unknown, "a claim is open that is neither in flight nor answered"

    def receive(self, timeout: float) -> list[Attempt]:
        until = self.clock.now + timeout
        if self.never_ends or not self._ends or self._ends[0][0] > until:
            self.clock.now = until + 1e-6
            return []
        self.clock.now = max(self.clock.now, self._ends[0][0])
        attempts = []
        while self._ends and self._ends[0][0] <= self.clock.now:
            attempts.append(heapq.heappop(self._ends)[2])
        self._handed.update(attempt.number for attempt in attempts)
        return attempts

    def postpone(self, until: float) -> None:
        """No result comes back before then."""
        self._ends = [(max(at, until), turn, attempt) for at, turn, attempt in self._ends]
        heapq.heapify(self._ends)

    def wake(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def close(self) -> None:
        pass


class Bench:
    """A journal, a plan of `rows` rows and a runner over them, for one endpoint or for several servers."""

    def __init__(
        self, directory: Path, rows: int, script: Script = answered, *, servers: Sequence[Script] = ()
    ) -> None:
        Journal.create(directory, job="test", simulated=False)
        self.journal = Journal.write(directory)
        self.settings = self.journal.register_settings("0" * 32, {"model": "m"})
        empty = np.zeros(0, np.uint32)
        self.plan = Plan(
            number=1,
            fingerprint="",
            digest="",
            latest=np.zeros(rows, np.uint64),
            repeated=empty,
            occurrences=empty,
            orphaned=0,
        )
        self.clock, self.stop_request = Clock(), StopRequest(lambda: self.clock.now)
        self.pause = Pause(len(servers) or 1)
        self.servers = Servers([str(number) for number in range(len(servers))], self.pause) if servers else None
        self.engine = ScriptedEngine(self.clock, script, self.journal, self.pause, servers)
        self.histories: dict[int, History] = {}
        self.fed = 0
        self.runner: Runner

    def works(self) -> Iterator[Work | Event]:
        for position in range(len(self.plan)):
            self.fed += 1
            request = Request("m", ({"role": "user", "content": f"p{position}"},), {"max_tokens": 100})
            yield Work(
                position,
                f"r{position}",
                "c",
                request,
                f"{position:032d}",
                self.histories.get(position, History()),
                self.settings,
            )

    def run(
        self,
        *,
        feed: Iterator[Work | Event] | None = None,
        retry: dict[str, Any] | None = None,
        limit: int | None = None,
        shared: SharedLimit | None = None,
        observe: Callable[[Progress], None] = lambda progress: None,
        **limits: Any,
    ) -> Stop | None:
        self.runner = Runner(
            Workload(feed or self.works(), self.plan, self.journal, limit),
            Rules(LimitsConfig(**limits), RetryConfig(**(retry or {})), {"m": Terms(PRICE, 1000)}),
            Destination(self.engine, self.pause, shared=shared, servers=self.servers),
            self.stop_request,
            observers=Observers(progressed=observe),
            clocks=Clocks(self.clock, self.clock),
        )
        return self.runner.run()

    def count(self, *states: State) -> int:
        return self.plan.count(*states)

    def record(self, position: int) -> Outcome:
        return self.journal.record(self.plan.event(position))
