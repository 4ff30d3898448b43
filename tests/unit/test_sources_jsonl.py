from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config.models import InputConfig
from pipeline.errors import InvalidInput
from pipeline.sources import Source, jsonl, open_source, written_column


def write(directory: Path, content: bytes | str, name: str = "x.jsonl") -> InputConfig:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return InputConfig(path=str(path))


def table(source: Source) -> pa.Table:
    """The input as the output carries it."""
    return pa.Table.from_batches(
        [
            pa.RecordBatch.from_arrays([written_column(batch, field) for field in source.schema], schema=source.schema)
            for batch in source.batches()
        ],
        source.schema,
    )


def column(directory: Path, *values: str) -> tuple[pa.DataType, list[Any]]:
    """The type and values that column `a` has when its values stand in the file as given (`-` for an absent one)."""
    lines = "".join("{}\n" if value == "-" else f'{{"a": {value}}}\n' for value in values)
    read = table(open_source(write(directory, lines)))
    return read.schema.field("a").type, read.column("a").to_pylist()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["true", "null", "false", "-"], pa.bool_(), [True, None, False, None]),
        (["1", "-9223372036854775808"], pa.int64(), [1, -(2**63)]),
        (["1.5", "1e3", "-"], pa.float64(), [1.5, 1000.0, None]),
        (['"x"', '""', '"NA"', "null"], pa.string(), ["x", "", "NA", None]),
        (["null", "-"], pa.string(), [None, None]),
        (["1", "1.5"], pa.string(), ["1", "1.5"]),
        (["1", "true", '"é"', "-", "null"], pa.string(), ["1", "true", '"é"', None, None]),
        (["9223372036854775808", "1"], pa.string(), ["9223372036854775808", "1"]),
        (["1", "9223372036854775808"], pa.string(), ["1", "9223372036854775808"]),
        (['{"b": [1, null]}', "[]", "-"], pa.string(), ['{"b":[1,null]}', "[]", None]),
    ],
)
def test_a_column_of_one_scalar_type_keeps_it_and_any_other_is_json_text(
    tmp_path: Path, values: list[str], kind: pa.DataType, expected: list[Any]
) -> None:
    assert column(tmp_path, *values) == (kind, expected)


def test_keys_are_counted_however_many_sets_of_them_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "_MOST_FORMS", 3)
    lines = (f'{{"id": {row}, "{row % 7}": 1, "last": "x"}}\n' for row in range(50))
    source = open_source(write(tmp_path, "".join(lines)))
    assert source.schema.names == ["id", "0", "last", "1", "2", "3", "4", "5", "6"]
    marked = [field.name for field in next(source.batches()).schema if field.metadata]
    assert marked == ["0", "1", "2", "3", "4", "5", "6"]


def test_columns_are_the_keys_of_all_files_in_order_of_first_sight(tmp_path: Path) -> None:
    write(tmp_path, '{"b": 1}\n{"a": "x", "b": 2}\n', "1.jsonl")
    write(tmp_path, '{"c": true, "b": 2.5}\n', "2.ndjson")
    read = table(open_source(InputConfig(path=str(tmp_path))))
    assert read.schema.names == ["b", "a", "c"]
    assert read.to_pydict() == {"b": ["1", "2", "2.5"], "a": [None, "x", None], "c": [None, None, True]}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a": 1', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b'{"a": 1} {"a": 2}', "not JSON"),
        (b'{"a": 1, "a": 2}', 'the key "a" occurs twice'),
        (b'{"b": {"a": 1, "a": 2}}', 'the key "a" occurs twice'),
        (b'{"\\ud800": 1, "\\udfff": 2}', "occurs twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "beyond what a double can hold"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "an integer is too long"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\n"}', "not JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_faulty_line_is_refused_with_its_number(tmp_path: Path, line: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_source(write(tmp_path, b'{"a": 0}\n' + line + b'\n{"a": 0}\n'))
    assert "x.jsonl, line 2" in str(caught.value)
    assert words in str(caught.value)


def test_half_a_surrogate_pair_becomes_the_replacement_character(tmp_path: Path) -> None:
    values = [r'"\ud83d\ude00"', r'"\ud83d"', r'"\ude00x"', r'"\\ud83d"', r'"\ud83d\ud83d\ude00"', r'["\uDC00"]']
    assert column(tmp_path, *values[:-1])[1] == ["😀", "\ufffd", "\ufffdx", "\\ud83d", "\ufffd😀"]
    assert column(tmp_path, values[-1])[1] == ['["\ufffd"]']


def test_blank_lines_are_taken_at_the_end_only(tmp_path: Path) -> None:
    assert table(open_source(write(tmp_path, '\ufeff{"a": 1}\r\n{"a": 2}\n\n  \r\n'))).to_pydict() == {"a": [1, 2]}
    with pytest.raises(InvalidInput, match="line 2: a blank line"):
        open_source(write(tmp_path, '{"a": 1}\n\n{"a": 2}\n'))


def test_a_file_without_rows_is_a_valid_input(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, "\n"))
    assert source.schema.names == []
    assert list(source.batches()) == []


def test_rows_without_any_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no keys"):
        open_source(write(tmp_path, "{}\n{}\n"))


def test_reading_begins_at_any_row_and_a_place_is_the_line(tmp_path: Path) -> None:
    config = write(tmp_path, "".join(f'{{"a": {number}}}\n' for number in range(9_000)))
    source = open_source(config)
    for start in (0, 4_095, 4_096, 8_999, 9_000):
        values = [value for batch in source.batches(start) for value in batch.column(0).to_pylist()]
        assert values == list(range(start, 9_000))
    assert str(source.place(0)) == f"{config.path}, line 1"
    assert str(source.place(5_000)) == f"{config.path}, line 5001"


def test_long_lines_are_read_in_small_batches(tmp_path: Path) -> None:
    long = "x" * 10_000_000
    config = write(tmp_path, "".join(json.dumps({"a": value}) + "\n" for value in (long, "y", long)))
    batches = list(open_source(config).batches())
    assert [value for batch in batches for value in batch.column(0).to_pylist()] == [long, "y", long]
    assert max(batch.nbytes for batch in batches) < 16 * 2**20


def test_the_number_of_rows_does_not_show_in_memory(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        config = write(tmp_path, f'{{"a": "{"x" * 200}", "b": 1}}\n' * count)
        tracemalloc.start()
        pool_peak = 0
        for _ in open_source(config).batches():
            pool_peak = max(pool_peak, pa.total_allocated_bytes())
        _, python_peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return python_peak + pool_peak

    assert peak(32_000) < peak(12_000) * 1.2
