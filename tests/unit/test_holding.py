"""What the limit on requests in flight was, from what held them back for how long."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.running.limited import Work, of_machine
from pipeline.endings import LimitedBy
from pipeline.errors import ErrorKind
from pipeline.limits import InFlightLimit
from pipeline.runner.holding import Held, Holding
from tests.support.virtual import Answer, Bench, answered, failed


def held(*times: tuple[Held, float]) -> Holding:
    holding, now = Holding(), 0.0
    for cause, seconds in times:
        holding.see(cause, now)
        now += seconds
    holding.see(Held.ROW, now)
    return holding


@pytest.mark.parametrize(
    ("times", "limit"),
    [
        ([(Held.RATE, 6), (Held.SLOT, 4)], LimitedBy.RATE_LIMIT),
        ([(Held.RATE, 4), (Held.SLOT, 6)], LimitedBy.ROWS),
        ([(Held.ROW, 6), (Held.SLOT, 4)], LimitedBy.ROWS),
        ([], LimitedBy.ROWS),
    ],
)
def test_what_held_most_of_the_time_is_the_limit(times: list[tuple[Held, float]], limit: LimitedBy) -> None:
    assert held(*times).limited_by(InFlightLimit("auto"), 1000) is limit


def test_a_number_that_was_found_is_the_servers_limit_and_one_at_its_bound_a_cap() -> None:
    limit = InFlightLimit("auto")
    holding = held((Held.SLOT, 10))
    assert holding.limited_by(limit, 4) is LimitedBy.CAP
    now = 0.0
    while not limit.has_found:
        now += 1 / limit.limit
        limit.flying(limit.limit, now)
        limit.answered(now - 1, limit.limit, max(1.0, limit.limit / 20), now)
    assert holding.limited_by(limit, 1000) is LimitedBy.SERVER


def test_a_cap_below_what_is_allowed_and_a_busy_process_are_the_machines() -> None:
    assert of_machine(LimitedBy.CAP, room=900, most=20_000, busy=0.1) is LimitedBy.MACHINE
    assert of_machine(LimitedBy.CAP, room=256, most=256, busy=1.0) is LimitedBy.CAP
    assert of_machine(LimitedBy.SERVER, room=900, most=20_000, busy=0.95) is LimitedBy.MACHINE
    assert of_machine(LimitedBy.SERVER, room=900, most=20_000, busy=0.5) is LimitedBy.SERVER
    assert of_machine(None, room=900, most=20_000, busy=1.0) is None


def test_the_busier_of_the_run_and_its_senders_counts() -> None:
    before = Work(own=1.0, children=0.0, at=100.0)
    assert Work(own=4.0, children=8.0, at=110.0).busy_since(before, 2) == pytest.approx(0.4)
    assert Work(own=6.0, children=8.0, at=110.0).busy_since(before, 2) == pytest.approx(0.5)
    assert Work(own=6.0, children=0.0, at=110.0).busy_since(before, 0) == pytest.approx(0.5)


class Workers:
    """A server that works on so many requests at once, a second each; the others wait in a queue."""

    def __init__(self, count: int) -> None:
        self._free_at = [0.0] * count

    def __call__(self, prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        ends = max(now, heapq.heappop(self._free_at)) + 1.0
        heapq.heappush(self._free_at, ends)
        return answered(prompt)[0], ends - now


@pytest.mark.parametrize(
    ("workers", "rows", "limits", "limited_by", "in_flight"),
    [
        (20, 2000, {}, LimitedBy.SERVER, range(16, 31)),
        (500, 1500, {"requests_per_minute": 300.0}, LimitedBy.RATE_LIMIT, range(4, 17)),
        (500, 100, {}, LimitedBy.ROWS, range(4, 65)),
    ],
)
def test_a_run_finds_its_number_and_says_what_the_limit_was(
    tmp_path: Path, workers: int, rows: int, limits: dict[str, Any], limited_by: LimitedBy, in_flight: range
) -> None:
    bench = Bench(tmp_path, rows, Workers(workers))
    assert bench.run(concurrency="auto", **limits) is None
    bench.journal.close()
    assert bench.runner.progress.succeeded == rows
    assert bench.runner.progress.limited_by is limited_by
    assert bench.runner.progress.slots in in_flight


def test_a_server_that_refuses_what_is_beyond_its_number_is_left_below_it(tmp_path: Path) -> None:
    ends: list[float] = []

    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        ends[:] = [end for end in ends if end > now]
        if len(ends) >= 50:
            return failed(ErrorKind.SERVER_ERROR, http_status=503)[0], 0.01
        ends.append(now + 1.0)
        return answered(prompt)

    bench = Bench(tmp_path, 3000, script)
    assert bench.run(concurrency="auto") is None
    bench.journal.close()
    assert bench.runner.progress.succeeded == 3000
    assert bench.runner.progress.slots <= 70
    assert bench.clock.now - 1000.0 < 1.4 * 3000 / 50
