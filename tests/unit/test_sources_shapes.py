"""Files as writers of Parquet and JSONL leave them."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.models import InputConfig
from pipeline.errors import InvalidInput
from pipeline.sources import Source, open_source
from pipeline.sources.identity import content_keys, id_texts, row_values


def shards(directory: Path, *columns: pa.Array) -> Source:
    for number, column in enumerate(columns):
        pq.write_table(pa.table({"q": ["x"], "c": column}), directory / f"{number}.parquet")
    return open_source(InputConfig(path=str(directory)))


def facts(source: Source) -> list[tuple[str, str]]:
    return [
        fact
        for batch in source.batches()
        for fact in zip(map(str, row_values(batch)), content_keys(batch), strict=True)
    ]


STRUCT = {"role": "user", "name": None}


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([pa.array(["a"]), pa.nulls(1)], pa.string()),
        ([pa.nulls(1), pa.nulls(1), pa.array([[1]])], pa.list_(pa.field("element", pa.int64()))),
        ([pa.array(["a"]), pa.array(["é"], pa.large_string()), pa.nulls(1)], pa.large_string()),
        ([pa.array(["a"]).dictionary_encode(), pa.array(["é"])], pa.string()),
        ([pa.array([1], pa.int32()), pa.array([-(2**40)])], pa.int64()),
        ([pa.array([2**31], pa.uint32()), pa.array([-1], pa.int8())], pa.int64()),
        ([pa.array([0.5], pa.float32()), pa.array([0.1])], pa.float64()),
        ([pa.array([Decimal("1.50")]), pa.array([Decimal("100.50")])], pa.decimal128(5, 2)),
        ([pa.array([1], pa.timestamp("ms")), pa.array([1001], pa.timestamp("ns"))], pa.timestamp("ns")),
        ([pa.array([b"a"]), pa.array([b"b"], pa.large_binary())], pa.large_binary()),
        (
            [
                pa.array([STRUCT], pa.struct([("role", pa.string()), ("name", pa.null())])),
                pa.array([{"role": "user", "name": "x"}]),
            ],
            pa.struct([("role", pa.string()), ("name", pa.string())]),
        ),
    ],
)
def test_types_that_differ_only_in_storage_are_read_as_the_wider_one(
    tmp_path: Path, columns: list[pa.Array], kind: pa.DataType
) -> None:
    together = shards(tmp_path, *columns)
    assert together.schema.field("c").type == kind
    assert all(batch.schema.field("c").type == kind for batch in together.batches())
    alone = []
    for number in range(len(columns)):
        alone += facts(open_source(InputConfig(path=str(tmp_path / f"{number}.parquet"))))
    assert facts(together) == alone


@pytest.mark.parametrize(
    "columns",
    [
        [pa.array(["1"]), pa.array([1])],
        [pa.array([1]), pa.array([1.0])],
        [pa.array([True]), pa.array([1])],
        [pa.array([2**63], pa.uint64()), pa.array([-1])],
        [pa.array([Decimal("1.5")]), pa.array([Decimal("1.50")])],
        [pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))],
        [pa.array([{"a": 1}]), pa.array([{"a": 1, "b": 1}])],
        [pa.array(["a"]), pa.array([b"a"])],
    ],
)
def test_types_that_hold_different_things_are_refused(tmp_path: Path, columns: list[pa.Array]) -> None:
    with pytest.raises(InvalidInput, match=r'column "c" is .*, there '):
        shards(tmp_path, *columns)


def test_extension_types_stay_and_a_uuid_is_an_id(tmp_path: Path) -> None:
    id_ = uuid.UUID("12345678-1234-5678-1234-567812345678")
    mark = {b"ARROW:extension:name": b"some.month", b"ARROW:extension:metadata": b'{"freq": "M"}'}
    schema = pa.schema([pa.field("id", pa.uuid()), pa.field("month", pa.int64(), metadata={**mark, b"other": b"1"})])
    columns = [pa.ExtensionArray.from_storage(pa.uuid(), pa.array([id_.bytes], pa.binary(16))), pa.array([673])]
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "x.parquet")
    source = open_source(InputConfig(path=str(tmp_path / "x.parquet"), id="id"))
    (batch,) = source.batches()
    assert id_texts(batch, ("id",)) == [str(id_)]
    assert source.schema.field("id").type == pa.uuid()
    assert source.schema.field("month").metadata == mark


def test_bytes_that_are_no_utf8_are_replaced_for_templates_and_keep_rows_apart(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 2, 4, 5], np.int32))
    raw = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"\xff\xfe\xff\xfda"))
    pq.write_table(pa.table({"raw": raw}), tmp_path / "x.parquet")
    (batch,) = open_source(InputConfig(path=str(tmp_path / "x.parquet"))).batches()
    assert [row["raw"] for row in row_values(batch)] == ["\ufffd\ufffd", "\ufffd\ufffd", "a"]
    assert len(set(content_keys(batch))) == 3
    assert content_keys(batch)[2] == content_keys(pa.RecordBatch.from_pydict({"raw": ["a"]}))[0]


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        list(open_source(InputConfig(path=str(path), **settings)).batches())
    return str(caught.value)


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ("_delta_log/0.json", "Delta Lake"),
        ("metadata/v1.metadata.json", "Apache Iceberg"),
        (".hoodie/x", "Apache Hudi"),
    ],
)
@pytest.mark.parametrize("pattern", ["", "*.parquet", "part=1/*.parquet", "**/*.parquet"])
def test_the_files_of_a_table_format_are_refused_by_its_name(tmp_path: Path, log: str, name: str, pattern: str) -> None:
    for path in ("a.parquet", "part=1/b.parquet"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"q": ["x"]}), tmp_path / path)
    assert "is partitioned" in refusal(tmp_path)
    (tmp_path / log).parent.mkdir()
    (tmp_path / log).write_text("{}")
    assert f"is a table of {name}" in refusal(tmp_path / pattern if pattern else tmp_path)


def test_a_folder_of_json_lines_is_read_where_it_holds_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"q": "x"}\n{"q": "y"}\n')
    assert sum(batch.num_rows for batch in open_source(InputConfig(path=str(tmp_path))).batches()) == 2
    pq.write_table(pa.table({"q": ["z"]}), tmp_path / "b.parquet")
    assert [file.path for file in open_source(InputConfig(path=str(tmp_path))).files] == [str(tmp_path / "b.parquet")]
    (tmp_path / "c.json").write_text(json.dumps([{"q": "x"}]))
    assert "an array" in refusal(tmp_path / "c.json")
    (tmp_path / "d.json").write_text(json.dumps([{"q": "x"}], indent=1))
    assert "spread over lines" in refusal(tmp_path / "d.json")


@pytest.mark.parametrize(
    ("start", "name", "words"),
    [
        (b"PK\x03\x04\x14", "x.csv", "an Excel workbook"),
        (b"PAR1\x15", "x.jsonl", "is Parquet"),
        (b"\x1f\x8b\x08\x00", "x.csv", "compressed with gzip"),
        (b"id;q\n1;a\n", "x.csv", 'delimiter: ";"'),
        (b"id\tq\n1\ta\n", "x.csv", r'delimiter: "\t"'),
        (b"id|q\n1|a\n", "x.csv", 'delimiter: "|"'),
    ],
)
def test_what_is_no_csv_or_parted_otherwise_is_refused_with_what_it_is(
    tmp_path: Path, start: bytes, name: str, words: str
) -> None:
    (tmp_path / name).write_bytes(start)
    assert words in refusal(tmp_path / name)


def test_a_single_column_with_such_a_name_is_read_where_the_delimiter_is_given(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a;b\n1;2\n")
    source = open_source(InputConfig(path=str(tmp_path / "x.csv"), csv={"delimiter": ","}))  # type: ignore[arg-type]
    assert source.schema.names == ["a;b"]
