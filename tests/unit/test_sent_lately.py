"""What a run counts against its rates of what earlier ones sent; CONTRACT section 4, promise 6."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.jobs import recent_sends
from pipeline.config import LimitsConfig
from pipeline.journal import Changes, Event, Journal, State
from pipeline.journal.outcome import decode, encode
from pipeline.runner.accounting import failed_record

Write = Callable[..., Journal]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """A journal with an event for each record."""
    made: list[Journal] = []

    def make(records: list[dict[str, Any]], state: State = State.ANSWERED) -> Journal:
        if not made:
            Journal.create(tmp_path, job="test", simulated=False)
            made.append(Journal.write(tmp_path))
        for start in range(0, len(records), 1000):
            made[0].commit(
                Changes(
                    [
                        Event(1, row, state, f"r{row}", "0" * 32, 1, "c", decode(record))
                        for row, record in enumerate(records[start : start + 1000], start)
                    ]
                )
            )
        return made[0]

    yield make
    for journal in made:
        journal.close()


def sent(ago: float, latency: float = 1.0, tokens: int | None = 10) -> dict[str, Any]:
    started = time.time() - ago
    return {"started_at": started, "finished_at": started + latency, "tokens": tokens, "failed_runs": 0}


def sent_lately(journal: Journal, limits: LimitsConfig) -> list[tuple[float, float]]:
    return recent_sends.sent_lately(journal, limits, time.time())


PER_MINUTE = LimitsConfig(requests_per_minute=1e6, tokens_per_minute=1e9)


def test_more_than_a_thousand_requests_of_the_last_minute_all_count(write: Write) -> None:
    journal = write([sent(200.0)] * 2500 + [sent(50.0 - number / 100) for number in range(4500)])
    found = sent_lately(journal, PER_MINUTE)
    assert len(found) == 4500
    assert found == sorted(found, reverse=True)
    assert found[0][0] == pytest.approx(50.0, abs=2)


def test_a_long_request_that_was_recorded_late_does_not_hide_those_before_it(write: Write) -> None:
    lately = [sent(30.0)] * 1500
    journal = write([sent(30.0)] * 1500 + [sent(250.0, latency=245.0)] + lately)
    assert len(sent_lately(journal, PER_MINUTE)) == 3000


def test_adoptions_of_a_new_plan_do_not_hide_what_was_sent_before(write: Write) -> None:
    write([sent(20.0)] * 5)
    journal = write([{"source": 1}] * 3000, State.ADOPTED)
    assert len(sent_lately(journal, PER_MINUTE)) == 5


def test_requests_that_a_kill_cut_off_count_and_do_not_hide_others(write: Write) -> None:
    write([sent(5.0)] * 3)
    cut_off = {"started_at": time.time() - 100.0, "tokens": 500}
    journal = write([cut_off] * 1200 + [{**cut_off, "started_at": time.time() - 10.0}], State.ATTEMPTED)
    assert [tokens for _, tokens in sent_lately(journal, PER_MINUTE)] == [500, 10, 10, 10]


def test_the_last_attempt_of_a_failed_row_counts_once(write: Write) -> None:
    attempt = sent(5.0, tokens=7)
    write([attempt], State.ATTEMPTED)
    journal = write([encode(failed_record(decode(attempt)))], State.FAILED_PASSING)
    assert [tokens for _, tokens in sent_lately(journal, PER_MINUTE)] == [7]


NOW = 1_800_000_000.0
DAY = 86_400.0


def begin(journal: Journal, now: float) -> tuple[list[float], float]:
    """What a run that begins then takes over: how long ago requests were sent, and how long the pause lasts."""
    found = recent_sends.sent_lately(journal, PER_MINUTE, now)
    recent_sends.see(journal, found, now)
    return [ago for ago, _ in found], journal.totals.pause_left(now)


def at(started: float) -> dict[str, Any]:
    return {"started_at": started, "finished_at": started + 1.0, "tokens": 10, "failed_runs": 0}


def test_what_a_clock_that_was_ahead_has_stamped_counts_for_a_minute_from_the_first_sight_of_it(write: Write) -> None:
    journal = write([at(NOW + DAY)] * 3)
    assert begin(journal, NOW) == ([0.0] * 3, 0.0)
    assert begin(journal, NOW + 40) == ([40.0] * 3, 0.0)
    assert begin(journal, NOW + 61) == ([], 0.0)
    write([at(NOW + 62)])
    assert begin(journal, NOW + 70) == ([8.0], 0.0)


def test_a_clock_that_was_ahead_twice_is_seen_twice(write: Write) -> None:
    journal = write([at(NOW + 2 * DAY)])
    begin(journal, NOW + DAY)  # this one is ahead too
    write([at(NOW + DAY)])
    assert begin(journal, NOW) == ([0.0] * 2, 0.0)
    assert begin(journal, NOW + 61) == ([], 0.0)


def test_a_clock_that_is_behind_for_one_run_makes_nothing_count_for_less_in_the_next(write: Write) -> None:
    journal = write([at(NOW)] * 2)
    journal.commit(Changes(pause=(NOW, NOW + 300.0)))
    assert begin(journal, NOW - DAY) == ([0.0] * 2, 300.0)
    assert begin(journal, NOW + 20) == ([20.0] * 2, 280.0)


def test_a_pause_that_was_set_in_the_future_lasts_as_long_as_it_was_meant_to_from_the_first_sight_of_it(
    write: Write,
) -> None:
    journal = write([])
    journal.commit(Changes(pause=(NOW + DAY, NOW + DAY + 300.0)))
    assert [begin(journal, NOW + later)[1] for later in (0.0, 100.0, 301.0)] == [300.0, 200.0, -1.0]
    journal.commit(Changes(pause=(NOW + 302, NOW + 312)))
    assert begin(journal, NOW + 303)[1] == 9.0


def test_below_one_a_minute_what_was_sent_longer_ago_counts(write: Write) -> None:
    journal = write([sent(100.0)])
    assert len(sent_lately(journal, LimitsConfig(requests_per_minute=0.5))) == 1
    assert len(sent_lately(journal, LimitsConfig(tokens_per_minute=0.5))) == 1
    assert sent_lately(journal, LimitsConfig(requests_per_minute=1.0)) == []


def test_no_more_of_a_journal_is_read_than_fills_the_rates(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = write([sent(50.0 - number / 1000) for number in range(20_000)])
    read: list[int] = []
    records = journal.records

    def noted(numbers: Sequence[int]) -> Iterator[Any]:
        read.extend(numbers)
        return records(numbers)

    monkeypatch.setattr(journal, "records", noted)
    found = sent_lately(journal, LimitsConfig(requests_per_minute=1500, tokens_per_minute=5000))
    assert 1500 <= len(found) <= 4000
    assert len(read) <= 4000
    read.clear()
    assert sent_lately(journal, LimitsConfig()) == []
    assert read == []
