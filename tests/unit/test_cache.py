"""The file of a cache, and what makes two requests one to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.cache import Bought, Cache, CacheKeys, is_cache
from pipeline.errors import CheckpointFailed
from pipeline.journal import Outcome
from pipeline.records import Request

ANSWER = Outcome(response="yes", response_type="text", cost=Decimal("0.01"), attempts=3, latency_seconds=1.5)


class Clock:
    """Unix seconds that stand still until they are set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(path: Path, warnings: list[str] | None = None, clock: Clock | None = None) -> Cache:
    warn = ([] if warnings is None else warnings).append
    return Cache(path, None, warn, clock=clock or Clock(), wait_seconds=0.01)


def test_everything_that_could_make_answers_differ_is_part_of_the_key() -> None:
    keys = [
        CacheKeys(address, simulated).key(asked)
        for address in ("https://a", "https://b", None)
        for simulated in (False, True)
        for asked in ("1", "2")
    ]
    assert len(set(keys)) == len(keys)


def test_with_a_seed_each_sample_has_a_request_of_its_own_and_takes_its_first_answer() -> None:
    plain, seeded = (Request("m", (), parameters) for parameters in ({}, {"seed": 3}))
    assert [CacheKeys.number(plain, sample) for sample in (0, 4)] == [0, 4]
    assert [CacheKeys.number(seeded, sample) for sample in (0, 4)] == [0, 0]


def test_an_answer_comes_back_without_what_was_of_its_attempt(tmp_path: Path) -> None:
    cache = opened(tmp_path / "below" / "cache")
    cache.put(Bought("k", 1, ANSWER))
    cache.write()
    found = cache.find("k", 1)
    assert found == Outcome(
        response="yes", response_type="text", cost=Decimal(0), saved_usd=Decimal("0.01"), shared_from="cache"
    )
    assert cache.find("k", 0) is None and cache.find("l", 1) is None
    cache.put(Bought("k", 1, ANSWER._replace(response="later")))
    cache.close()
    again = opened(tmp_path / "below" / "cache")
    assert again.find("k", 1) == found and is_cache(tmp_path / "below" / "cache")
    again.close()


def test_answers_wait_while_another_run_holds_the_file(tmp_path: Path) -> None:
    warnings: list[str] = []
    clock = Clock()
    cache = opened(tmp_path / "cache", warnings, clock)
    with closing(sqlite3.connect(tmp_path / "cache", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        cache.put(Bought("k", 0, ANSWER))
        cache.write()
        other.execute("ROLLBACK")
        assert other.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    clock.now += 1
    cache.write()
    assert cache.find("k", 0) is not None and warnings == []
    cache.close()


def test_answers_are_written_together_and_at_the_latest_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    cache, other = opened(tmp_path / "cache", clock=clock), opened(tmp_path / "cache")
    for key in ("first", "second"):
        cache.put(Bought(key, 0, ANSWER))
        cache.write()
    assert cache.find("first", 0) == cache.find("second", 0) is not None
    assert other.find("first", 0) is not None and other.find("second", 0) is None
    cache.close()
    assert other.find("second", 0) is not None
    other.close()


def test_a_cache_that_cannot_be_made_or_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    for path in (tmp_path / "notes", tmp_path / "notes" / "cache", tmp_path):
        with pytest.raises(CheckpointFailed, match=r"cache\.path"):
            opened(path)
    assert (tmp_path / "notes").read_text() == "mine"
