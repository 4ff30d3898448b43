"""Shards: how they are named, what each has of the limits, and which rows are whose."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from pipeline.config import LimitsConfig, Shard
from pipeline.sources import rows_of, shard_numbers


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.0/4", "01/4"])
def test_what_is_no_shard_is_none(text: str) -> None:
    assert Shard.parse(text) is None


def test_a_shard_is_known_by_its_number_and_by_its_directory() -> None:
    shard = Shard.parse("2/16")
    assert shard == Shard(2, 16) == Shard.named("shard-2-of-16")
    assert (str(shard), shard.name) == ("2/16", "shard-2-of-16")
    assert shard.output("data/out/answers.parquet") == "data/out/answers.shard-2-of-16.parquet"
    assert Shard.named("shard-5-of-4") is None


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("rate", [300.0, 100.0, 1000003.0, 33.3, 0.5, 1234.5678])
def test_the_shares_of_a_rate_add_up_to_it(rate: float, count: int) -> None:
    whole = LimitsConfig(requests_per_minute=rate, tokens_per_minute=rate * 10)
    shares = [Shard(number, count).limits(whole) for number in range(1, count + 1)]
    rates = [Decimal(repr(share.requests_per_minute)) for share in shares]
    assert sum(rates) == Decimal(repr(rate))
    assert max(rates) - min(rates) <= 1
    if rate.is_integer():
        assert all(share == share.to_integral_value() for share in rates)
    assert sum(Decimal(repr(share.tokens_per_minute)) for share in shares) == Decimal(repr(rate * 10))


@pytest.mark.parametrize("count", [1, 3, 7, 64])
@pytest.mark.parametrize("cap", ["50.00", "0.1", "0.000001", "12345678.123456789012345"])
def test_the_shares_of_a_cap_add_up_to_it(cap: str, count: int) -> None:
    whole = LimitsConfig(max_cost_usd=Decimal(cap), max_run_cost_usd=Decimal(cap))
    shares = [Shard(number, count).limits(whole) for number in range(1, count + 1)]
    for name in ("max_cost_usd", "max_run_cost_usd"):
        amounts = [getattr(share, name) for share in shares]
        assert sum(amounts) == Decimal(cap)
        assert max(amounts) - min(amounts) <= Decimal(10) ** -12


def test_what_is_not_divided_stays() -> None:
    whole = LimitsConfig(concurrency=8, deadline_seconds=60, drain_seconds=5)
    assert Shard(1, 3).limits(whole) == whole


def test_rows_keep_their_shard_whatever_comes_after_them() -> None:
    ids = [f"row-{number}" for number in range(2000)]
    numbers = shard_numbers(pa.record_batch({"id": ids}), 4, ("id",)).tolist()
    assert shard_numbers(pa.record_batch({"id": ids[:700]}), 4, ("id",)).tolist() == numbers[:700]
    assert {number: numbers.count(number) > 400 for number in range(1, 5)} == dict.fromkeys(range(1, 5), True)
    assert numbers[:8] == [4, 3, 4, 1, 4, 2, 4, 2]  # for ever: a paid answer is found by it


def test_rows_of_the_same_content_are_in_one_shard() -> None:
    texts = [f"q{number % 10}" for number in range(100)]
    numbers = shard_numbers(pa.record_batch({"q": texts}), 7, ())
    assert all(len({one for one, text in zip(numbers, texts, strict=True) if text == name}) == 1 for name in texts[:10])


def test_a_row_without_an_id_is_in_no_shard_alone() -> None:
    assert shard_numbers(pa.record_batch({"id": ["", None, "row-0"]}), 4, ("id",)).tolist() == [0, 0, 4]
    assert list(rows_of(Shard(3, 4), ("id",))(pa.record_batch({"id": ["", None, "row-0"]}))) == [True, True, False]
