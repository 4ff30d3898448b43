"""Shards: how they are named, what each has of the limits, and which rows are whose."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import LimitsConfig, Shard
from pipeline.config.models import InputConfig
from pipeline.errors import InvalidJob
from pipeline.sources import Source, TableSource, copies, open_source, rows_of, shard_numbers
from pipeline.sources.places import Place


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
    own = rows_of(Shard(3, 4), TableSource(pa.table({"id": ["", None, "row-0"]})), ("id",), Path())
    assert [batch.column("id").to_pylist() for batch in own.batches()] == [["", None]]


class Counted:
    """A source of Parquet files that notes from which row on it is read."""

    def __init__(self, source: Source) -> None:
        self.schema, self.files, self._source = source.schema, source.files, source
        self.starts: list[int] = []

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows from a position on."""
        self.starts.append(start)
        return self._source.batches(start)

    def place(self, position: int) -> Place:
        """Return where a row is."""
        return self._source.place(position)


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    rows = pa.table({"id": range(60_000), "text": [None if row % 7 == 0 else f"text {row}" for row in range(60_000)]})
    pq.write_table(rows, tmp_path / "in.parquet")
    return Counted(open_source(InputConfig(path=str(tmp_path / "in.parquet"), id="id")))


def ids(source: Source, start: int = 0) -> list[int]:
    return [row for batch in source.batches(start) for row in batch.column("id").to_pylist()]


def test_the_rows_of_other_shards_are_read_past_once(counted: Counted, tmp_path: Path) -> None:
    own = rows_of(Shard(3, 16), counted, ("id",), tmp_path / "not/yet/there")
    found = pa.Table.from_batches(own.batches())
    assert 3_500 < found.num_rows < 4_000
    assert pa.Table.from_batches(own.batches()).equals(found)
    assert ids(own, 700) == found["id"].to_pylist()[700:]
    assert counted.starts == [0, 60_000, 60_000]
    assert own.place(700).number == found["id"][700].as_py() + 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_what_was_read_of_the_beginning_is_gone_on_from(counted: Counted, tmp_path: Path) -> None:
    own = rows_of(Shard(3, 16), counted, ("id",), tmp_path)
    first = next(own.batches())
    assert len(ids(own)) > first.num_rows
    assert counted.starts[1] > 12_000
    whole = rows_of(Shard(3, 16), counted, ("id",), tmp_path)
    assert ids(own) == ids(whole)


def test_without_room_for_copies_the_input_is_read_again(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_MOST_BYTES", 50_000)
    own = rows_of(Shard(3, 16), counted, ("id",), tmp_path)
    found = ids(own)
    assert (ids(own), ids(own, 1090)) == (found, found[1090:])
    assert all(12_000 < start < 60_000 for start in counted.starts[1:])


def test_a_disk_that_takes_no_copies_is_no_fault(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", refuse)
    own = rows_of(Shard(3, 16), counted, ("id",), tmp_path)
    found = ids(own)
    assert ids(own) == found
    assert counted.starts == [0, found[0]]


def refuse(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_copies_are_not_taken_for_a_file_that_was_edited_with_its_time_kept(counted: Counted, tmp_path: Path) -> None:
    own = rows_of(Shard(3, 16), counted, ("id",), tmp_path)
    found, path = ids(own), tmp_path / "in.parquet"
    facts = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert ids(own) == found
    assert counted.starts == [0, found[0]]


def test_a_file_that_changed_since_it_was_copied_is_noticed(counted: Counted, tmp_path: Path) -> None:
    own = rows_of(Shard(3, 16), counted, ("id",), tmp_path)
    ids(own)
    (tmp_path / "in.parquet").write_bytes(b"other")
    with pytest.raises(InvalidJob, match="changed while it was read"):
        ids(own)


def test_copies_are_what_was_copied(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None, "ü", ""]),
            "large": pa.array(["a", None, "b", "c"], pa.large_string()),
            "view": pa.array(["a", None, "a text that is no short one", "c"], pa.string_view()),
            "kind": pa.array(["a", "b", None, "a"]).dictionary_encode(),
            "list": pa.array([[1], None, [], [2, None]], pa.list_(pa.int8())),
            "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": ""}, {"a": 2, "b": "y"}]),
            "map": pa.array([[("k", 1)], None, [], [("l", 2)]], pa.map_(pa.string(), pa.int64())),
            "time": pa.array([1, None, 3, 4], pa.timestamp("ns", "Europe/Berlin")),
            "price": pa.array([Decimal("1.50"), None, Decimal("0.00"), Decimal("2.25")]),
            "uuid": pa.array([b"0" * 16, None, b"1" * 16, b"2" * 16], pa.uuid()),
            "flag": pa.array([True, None, False, True]),
            "nothing": pa.nulls(4),
        }
    )
    marked = table.schema.set(0, table.schema.field(0).with_metadata({"a": "b"}))
    batch = table.cast(marked).to_batches()[0].slice(1)
    kept = copies.RowCopies(tmp_path)
    kept.add(0, batch)
    kept.add(3, batch.slice(2))
    kept.add(3, batch)
    first, last = kept.batches(1)
    assert first.equals(batch.slice(1)) and last.equals(batch.slice(2))
    assert first.schema.equals(batch.schema, check_metadata=True)
