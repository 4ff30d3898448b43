from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.models import InputConfig
from pipeline.errors import InvalidInput
from pipeline.sources import open_source


def write(directory: Path, table: pa.Table, name: str = "x.parquet", **options: Any) -> InputConfig:
    path = directory / name
    pq.write_table(table, path, **options)
    return InputConfig(path=str(path))


def typed_table() -> pa.Table:
    return pa.table(
        {
            "text": ["NA", None, ""],
            "category": pa.array(["a", None, "b"]).dictionary_encode(),
            "price": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
            "seen": pa.array([1, None, 3], pa.timestamp("ns", "Europe/Berlin")),
            "day": [datetime.date(2024, 2, 29), None, None],
            "chat": [[{"role": "user", "content": "hi"}], [], None],
            "counts": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "big": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "raw": [b"\xff\x00", None, b""],
            "half": pa.array([1.5, None, 0.0], pa.float32()),
            "nothing": pa.nulls(3),
        }
    )


def test_columns_keep_their_types_and_values(tmp_path: Path) -> None:
    table = typed_table()
    source = open_source(write(tmp_path, table))
    assert source.schema == table.schema
    assert pa.Table.from_batches(source.batches(), source.schema).equals(table)


def test_the_metadata_of_file_and_columns_is_left_out(tmp_path: Path) -> None:
    field = pa.field("a", pa.int64(), nullable=False, metadata={"k": "v"})
    schema = open_source(write(tmp_path, pa.table({"a": [1]}, pa.schema([field], {"pandas": "{}"})))).schema
    assert schema.equals(pa.schema([pa.field("a", pa.int64(), nullable=False)]), check_metadata=True)


def test_files_with_the_same_columns_in_another_order_are_one_input(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"a": [1], "b": ["x"]}), "1.parquet")
    strict = pa.schema([pa.field("b", pa.string(), nullable=False), pa.field("a", pa.int64(), nullable=False)])
    write(tmp_path, pa.table({"b": ["y"], "a": [2]}, strict), "2.parquet")
    source = open_source(InputConfig(path=str(tmp_path)))
    assert pa.Table.from_batches(source.batches(), source.schema).to_pydict() == {"a": [1, 2], "b": ["x", "y"]}


def test_files_with_other_types_are_refused_with_the_column(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"a": [1], "b": [1]}), "1.parquet")
    write(tmp_path, pa.table({"a": ["1"], "c": [1]}), "2.parquet")
    with pytest.raises(InvalidInput) as caught:
        open_source(InputConfig(path=str(tmp_path)))
    for words in ("2.parquet", 'no column "b"', 'a further column "c"', 'column "a" is string, there int64'):
        assert words in str(caught.value)


def test_a_table_without_rows_is_a_valid_input(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, typed_table().slice(0, 0)))
    assert source.schema == typed_table().schema
    assert list(source.batches()) == []


def test_a_table_without_columns_has_no_rows(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, pa.table({})))
    assert source.schema.names == []
    assert list(source.batches()) == []


def test_a_double_column_name_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(InvalidInput, match='two columns have the name "a"'):
        open_source(write(tmp_path, table))


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    table = pa.table({"a": [str(number) * 10 for number in range(20_000)]})
    whole = Path(str(write(tmp_path, table, write_page_checksum=True).path)).read_bytes()
    flipped = whole[:5_000] + bytes([whole[5_000] ^ 0x10]) + whole[5_001:]
    for content in (b"PAR1", b"not parquet at all", whole[:-1], whole[: len(whole) // 2], flipped):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(InvalidInput, match=r"bad\.parquet cannot be read as Parquet"):
            list(open_source(InputConfig(path=str(tmp_path / "bad.parquet"))).batches())


def test_reading_begins_at_any_row_and_skips_row_groups(tmp_path: Path) -> None:
    config = write(tmp_path, pa.table({"a": range(10_000)}), row_group_size=3_000)
    source = open_source(config)
    for start in (0, 1, 2_999, 3_000, 4_097, 9_999, 10_000, 20_000):
        values = [value for batch in source.batches(start) for value in batch.column(0).to_pylist()]
        assert values == list(range(start, 10_000))
    damaged = bytearray(Path(str(config.path)).read_bytes())
    damaged[4:2_000] = bytes(1_996)  # the first row group, which need not be read
    (tmp_path / "late.parquet").write_bytes(damaged)
    late = open_source(InputConfig(path=str(tmp_path / "late.parquet")))
    assert sum(batch.num_rows for batch in late.batches(3_000)) == 7_000


def test_a_place_is_the_row_within_the_file(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"a": range(10)}), "1.parquet", row_group_size=3)
    write(tmp_path, pa.table({"a": range(10)}), "2.parquet", row_group_size=3)
    source = open_source(InputConfig(path=str(tmp_path)))
    assert str(source.place(0)) == f"{tmp_path}/1.parquet, row 1"
    assert str(source.place(9)) == f"{tmp_path}/1.parquet, row 10"
    assert str(source.place(14)) == f"{tmp_path}/2.parquet, row 5"


@pytest.mark.parametrize("use_dictionary", [False, True])
def test_batches_are_bounded_in_bytes_also_where_a_text_repeats(tmp_path: Path, use_dictionary: bool) -> None:
    table = pa.table({"a": range(3_000), "context": ["x" * 50_000] * 3_000})
    source = open_source(write(tmp_path, table, use_dictionary=use_dictionary))
    sizes = [(batch.num_rows, batch.nbytes) for batch in source.batches()]
    assert sum(rows for rows, _ in sizes) == 3_000
    assert max(size for _, size in sizes) <= 20 * 2**20


def test_the_number_of_rows_does_not_show_in_memory(tmp_path: Path) -> None:
    def peak_with(count: int) -> int:
        texts = [f"{number:050d}" for number in range(count)]
        config = write(tmp_path, pa.table({"a": texts}), use_dictionary=False)
        del texts
        before = pa.total_allocated_bytes()
        peak: int = max(pa.total_allocated_bytes() - before for _ in open_source(config).batches())
        return peak

    assert peak_with(200_000) < peak_with(20_000) * 1.5 + 2**20
