"""A quota that a run waits for: how long at most, when it looks, and that nothing else waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.errors import ErrorKind
from pipeline.journal import State
from pipeline.limits import QuotaWait
from tests.support.virtual import Answer, Bench, Script, answered, failed

MIDNIGHT = 86_400.0
START = 1000.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(rows: int, script: Script) -> Bench:
        made.append(Bench(tmp_path, rows, script))
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


def test_the_waits_of_a_run_add_up_to_what_is_asked_and_no_more() -> None:
    quota = QuotaWait(100.0, lambda: 0.0)
    assert quota.begins(60.0, 10.0, "why")
    assert quota.begins(60.0, 10.0, "why")  # the same one, told twice
    assert not quota.begins(41.0, 70.0, "why")
    assert quota.begins(40.0, 70.0, "why")
    assert quota.looks_in(111.0) is None


def test_what_was_in_flight_together_prolongs_a_wait_without_being_counted() -> None:
    quota = QuotaWait(60.0, lambda: 0.0)
    assert quota.begins(60.0, 10.0, "why", free=5.0)
    assert quota.begins(60.0, 14.0, "why", free=5.0)
    assert not quota.begins(70.0, 14.0, "why", free=5.0)


@pytest.mark.parametrize(
    ("most", "clock", "seconds"),
    [(100_000.0, MIDNIGHT - 30, 31.0), (100_000.0, MIDNIGHT / 2, 300.0), (50.0, MIDNIGHT / 2, 5.0), (0.5, 0.0, 0.5)],
)
def test_a_quota_is_looked_for_after_midnight_and_now_and_then(most: float, clock: float, seconds: float) -> None:
    assert QuotaWait(most, lambda: clock).looks_in(5.0) == seconds


def test_what_is_waited_for_is_told_while_it_is() -> None:
    quota = QuotaWait(100.0, lambda: 5000.0)
    assert quota.notice(0.0) is None
    quota.begins(60.0, 10.0, "why")
    notice = quota.notice(69.0)
    assert notice is not None
    assert (notice.cause, notice.until) == ("why", 5060.0)
    assert quota.notice(70.0) is None


def used_up(until: float, **facts: object) -> Script:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return answered(prompt) if now >= until else failed(ErrorKind.DAILY_QUOTA, http_status=429, **facts)

    return script


def test_a_daily_quota_is_waited_for_with_one_request_at_a_time(bench: Callable[..., Bench]) -> None:
    job = bench(50, used_up(START + 400))
    assert job.run(concurrency=8, wait_for_quota_seconds=1000.0) is None
    assert job.count(State.ANSWERED) == 50
    early = [at - START for at, _ in job.engine.sent if at < START + 400]
    assert len(early) == 8 + 3  # those of the first turn, and a look every hundred seconds
    assert all(later - before >= 100 for before, later in pairwise(early[7:]))
    assert job.clock.now < START + 520


def test_a_daily_quota_that_tells_its_end_is_waited_for_until_then(bench: Callable[..., Bench]) -> None:
    job = bench(5, used_up(START + 5000, retry_after=5000.0))
    assert job.run(concurrency=8, wait_for_quota_seconds=6000.0) is None
    assert job.count(State.ANSWERED) == 5
    assert sorted({round(at - START) for at, _ in job.engine.sent})[1] >= 5000
    assert job.journal.totals.pause_left(START + 10) == pytest.approx(4991, abs=2)


@pytest.mark.parametrize("seconds", [0.0, 300.0])
def test_a_quota_that_does_not_come_ends_the_run_once_the_wait_is_over(
    bench: Callable[..., Bench], seconds: float
) -> None:
    job = bench(20, used_up(START + 10_000))
    stop = job.run(concurrency=4, wait_for_quota_seconds=seconds)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "daily_quota")
    assert seconds <= job.clock.now - START < seconds + 3
    assert job.count(State.ANSWERED) == 0
    assert job.count(State.NEW, State.ATTEMPTED) == 20  # no row fails


def test_an_end_beyond_the_wait_ends_the_run_at_once(bench: Callable[..., Bench]) -> None:
    job = bench(5, used_up(START + 5000, retry_after=5000.0))
    stop = job.run(concurrency=8, wait_for_quota_seconds=4000.0)
    assert stop is not None
    assert stop.kind == "daily_quota"
    assert job.clock.now < START + 5


def test_a_pause_beyond_max_elapsed_seconds_is_waited_out(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if now >= START + 3000:
            return answered(prompt)
        return failed(ErrorKind.RATE_LIMITED, http_status=429, retry_after=START + 3000 - now)

    job = bench(30, script)
    assert job.run(concurrency=8, wait_for_quota_seconds=3600.0) is None
    assert job.count(State.ANSWERED) == 30
    assert len(job.engine.sent) == 38
    assert job.clock.now < START + 3100


def test_a_signal_and_the_deadline_end_the_wait_at_once(bench: Callable[..., Bench]) -> None:
    job = bench(5, used_up(START + 5000))
    stop = job.run(concurrency=2, wait_for_quota_seconds=6000.0, deadline_seconds=50.0)
    assert stop is not None
    assert stop.kind == "deadline"
    assert job.clock.now < START + 52

    job.clock.now = START + 100

    def interrupt(progress: object) -> None:
        if job.clock.now > START + 120:
            job.stop_request.ask(15)

    stop = job.run(concurrency=2, wait_for_quota_seconds=6000.0, observe=interrupt)
    assert stop is not None
    assert stop.exit_code == 143
    assert job.clock.now < START + 123
