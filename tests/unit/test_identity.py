from __future__ import annotations

import datetime
import hashlib
import subprocess
import sys
import zoneinfo
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.sources.canonical import encoded, row_bytes
from pipeline.sources.identity import content_keys, id_texts, row_values

UTC = datetime.timezone.utc  # noqa: UP017 - what pyarrow gives back


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def key(array: pa.Array) -> str:
    (only,) = content_keys(batch(a=array))
    return only


def test_the_key_is_the_documented_hash() -> None:
    content = b"2;1:a2:\xc3\xa9" + b"i-7;" + b"s3:\xe2\x82\xac"
    expected = hashlib.blake2b(content, digest_size=16, person=b"row-key-1").hexdigest()
    assert content_keys(batch(é=["€"], a=[-7])) == [expected]


def test_the_order_of_columns_does_not_count_and_their_names_do() -> None:
    assert content_keys(batch(a=["1"], b=["2"])) == content_keys(batch(b=["2"], a=["1"]))
    assert content_keys(batch(a=["1"], b=["2"])) != content_keys(batch(a=["2"], b=["1"]))
    assert content_keys(batch(a=["1"])) != content_keys(batch(b=["1"]))


def test_text_cannot_move_between_columns_unseen() -> None:
    pairs = [("ab", ""), ("a", "b"), ("", "ab"), ("as1:b", ""), ("a", "n"), ("a", None), (None, "a"), ("1:a", "b")]
    keys = content_keys(batch(x=[pair[0] for pair in pairs], y=[pair[1] for pair in pairs]))
    assert len(set(keys)) == len(pairs)


DIFFERENT = [
    pa.array([None], pa.string()),
    pa.array([""]),
    pa.array(["n"]),
    pa.array(["1"]),
    pa.array([b"1"]),
    pa.array([1]),
    pa.array([1.0]),
    pa.array([True]),
    pa.array([False]),
    pa.array([0]),
    pa.array([0.0]),
    pa.array([-0.0]),
    pa.array([float("nan")]),
    pa.array([float("inf")]),
    pa.array([0.1], pa.float32()),
    pa.array([0.1], pa.float64()),
    pa.array([2**64 - 1], pa.uint64()),
    pa.array([Decimal("1")]),
    pa.array([Decimal(10**37)], pa.decimal128(38, 0)),
    pa.array([1], pa.timestamp("ns")),
    pa.array([1], pa.timestamp("us")),
    pa.array([1], pa.timestamp("us", "UTC")),
    pa.array([1], pa.timestamp("us", "Europe/Berlin")),
    pa.array([1], pa.date32()),
    pa.array([1], pa.time64("us")),
    pa.array([1], pa.duration("us")),
    pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    pa.array([[]], pa.list_(pa.int64())),
    pa.array([[1]]),
    pa.array([[None]], pa.list_(pa.int64())),
    pa.array([[[1]]]),
    pa.array([[1, 1]]),
    pa.array([[[1], [1]]]),
    pa.array([{"a": 1}]),
    pa.array([{"a": None}], pa.struct([("a", pa.int64())])),
    pa.array([{"a": 1, "b": 1}]),
    pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    pa.array([[]], pa.map_(pa.string(), pa.int64())),
]


def test_values_that_differ_in_type_or_content_have_different_keys() -> None:
    assert len({key(array) for array in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    "same",
    [
        [
            pa.array(["x"]),
            pa.array(["x"], pa.large_string()),
            pa.array(["x"]).dictionary_encode(),
            pa.array(["x"], pa.string_view()),
        ],
        [pa.array([7], pa.int8()), pa.array([7], pa.uint64()), pa.array([7]).dictionary_encode()],
        [pa.array([0.5], pa.float32()), pa.array([0.5], pa.float64()), pa.array([0.5], pa.float16())],
        [pa.array([float("nan")]), pa.array([-float("nan")])],
        [pa.array([2], pa.timestamp("s")), pa.array([2 * 10**9], pa.timestamp("ns"))],
        [pa.array([1], pa.date32()), pa.array([86_400_000], pa.date64())],
        [pa.array([1], pa.time32("ms")), pa.array([1_000_000], pa.time64("ns"))],
        [pa.array([None], pa.string()), pa.nulls(1), pa.array([None], pa.list_(pa.int64()))],
        [
            pa.array([[1, None]]),
            pa.array([[1, None]], pa.large_list(pa.int64())),
            pa.array([[1, None]], pa.list_(pa.int32(), 2)),
            pa.array([[1, None]], pa.list_view(pa.int64())),
        ],
        [
            pa.array([{"a": 1, "b": "x"}]),
            pa.array([{"b": "x", "a": 1}], pa.struct([("b", pa.string()), ("a", pa.int8())])),
        ],
        [
            pa.array([b"x" * 16]),
            pa.array([b"x" * 16], pa.binary(16)),
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16], pa.binary(16))),
        ],
    ],
)
def test_widths_units_and_encodings_do_not_count(same: list[pa.Array]) -> None:
    assert len({key(array) for array in same}) == 1


def test_a_slice_has_the_keys_and_values_of_its_rows() -> None:
    whole = batch(
        text=["a", None, "c", "a"],
        short=pa.array(["x", None, "y", "x"]).dictionary_encode(),
        lists=[[1], None, [], [2, 3]],
        fixed=pa.array([[1, 2], None, [3, None], [5, 6]], pa.list_(pa.int64(), 2)),
        maps=pa.array([[("a", 1)], None, [("b", 2), ("c", 3)], []], pa.map_(pa.string(), pa.int64())),
        structs=[{"p": 1, "q": ["z"]}, None, {"p": None, "q": None}, {"p": 2, "q": []}],
        days=pa.array([1, None, 3, 4], pa.date32()),
        times=pa.array([1_000, None, 3, 4_000], pa.timestamp("ns")),
    )
    for start in range(4):
        for length in range(1, 5 - start):
            part = whole.slice(start, length)
            assert content_keys(part) == content_keys(whole)[start : start + length]
            assert row_values(part) == row_values(whole)[start : start + length]


def test_the_bytes_of_rows_are_those_of_their_values() -> None:
    columns = [
        pa.array(["é", None, "", "n"]),
        pa.array([None, 2**63, 0, 7], pa.uint64()),
        pa.array([-128, 127, None, 0], pa.int8()),
        pa.array(["a", "b", "c", None], pa.large_string()),
        pa.array(["x", None, "y", "x"]).dictionary_encode(),
        pa.array([0.5, None, -0.0, 1e300]),
        pa.array([[1], None, [], [None]], pa.list_(pa.int64())),
    ]
    for start, length in ((0, 4), (1, 2), (3, 1)):
        parts = [column.slice(start, length) for column in columns]
        assert row_bytes(parts).to_pylist() == [b"".join(values) for values in zip(*map(encoded, parts), strict=True)]
    assert row_bytes(columns[:1]).to_pylist() == encoded(columns[0])


def test_no_columns_or_no_rows_give_what_there_is() -> None:
    bare = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    assert len(content_keys(bare)) == bare.num_rows == 2
    assert row_values(bare) == [{}, {}]
    empty = batch(a=pa.array([], pa.string()))
    assert (content_keys(empty), row_values(empty), id_texts(empty, ("a",))) == ([], [], [])


def test_row_values_are_those_of_pyarrow() -> None:
    rows = batch(
        text=["a", None],
        number=[1, None],
        chat=[[{"role": "user", "content": "hi"}], None],
        maps=pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        price=[Decimal("1.50"), None],
        seen=pa.array([1, None], pa.timestamp("us", "UTC")),
        raw=[b"\xff", None],
        short=pa.array(["x", None]).dictionary_encode(),
        identifier=pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16, None], pa.binary(16))),
        unknown=pa.nulls(2),
    )
    assert row_values(rows) == rows.to_pylist()


def test_nanoseconds_are_text_only_where_they_count() -> None:
    seen = [1_700_000_000_000_001_000, 1_700_000_000_000_001_001, None]
    rows = row_values(
        batch(
            naive=pa.array(seen, pa.timestamp("ns")),
            zoned=pa.array(seen, pa.timestamp("ns", "Europe/Berlin")),
            clock=pa.array([1_000, 1_001, None], pa.time64("ns")),
            span=pa.array([-1_000, -1_001, None], pa.duration("ns")),
            deep=pa.array([[{"at": second}] for second in seen], pa.list_(pa.struct([("at", pa.timestamp("ns"))]))),
        )
    )
    naive = datetime.datetime(2023, 11, 14, 22, 13, 20, 1)
    assert rows[0] == {
        "naive": naive,
        "zoned": naive.replace(tzinfo=UTC).astimezone(zoneinfo.ZoneInfo("Europe/Berlin")),
        "clock": datetime.time(0, 0, 0, 1),
        "span": datetime.timedelta(microseconds=-1),
        "deep": [{"at": naive}],
    }
    assert rows[1] == {
        "naive": "2023-11-14 22:13:20.000001001",
        "zoned": "2023-11-14 23:13:20.000001001+0100",
        "clock": "00:00:00.000001001",
        "span": "-0.000001001 s",
        "deep": [{"at": "2023-11-14 22:13:20.000001001"}],
    }
    assert all(rows[2][name] is None for name in ("naive", "zoned", "clock", "span"))


def test_values_beyond_pythons_types_are_text_and_their_neighbours_are_not() -> None:
    rows = row_values(
        batch(
            day=pa.array([0, 10**8], pa.date32()),
            seen=pa.array([0, 10**15], pa.timestamp("s")),
            zone=pa.array([None, 1_001], pa.timestamp("ns", "Mars/Base")),
        )
    )
    assert rows[0] == {"day": datetime.date(1970, 1, 1), "seen": datetime.datetime(1970, 1, 1), "zone": None}
    assert rows[1] == {
        "day": "100000000 (date32[day])",
        "seen": "1000000000000000 (timestamp[s])",
        "zone": "1001 (timestamp[ns, tz=Mars/Base])",
    }


def test_rows_have_values_and_keys_without_pandas() -> None:
    script = (
        "import sys\n"
        "class NoPandas:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'pandas': raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoPandas())\n"
        "import pyarrow as pa\n"
        "from pipeline.sources.identity import content_keys, row_values\n"
        "rows = pa.RecordBatch.from_pydict({'t': pa.array([1000, 1001], pa.timestamp('ns')),"
        " 'd': pa.array([1000, 1001], pa.duration('ns'))})\n"
        "row_values(rows), content_keys(rows)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_ids_are_text_as_it_is_and_integers_in_decimal() -> None:
    rows = batch(
        text=["007", "", None, " x "],
        number=pa.array([7, -1, None, 2**64 - 1 - 2**63]),
        large=pa.array([2**64 - 1, 0, None, 1], pa.uint64()),
        short=pa.array(["a", "", None, "a"]).dictionary_encode(),
    )
    assert id_texts(rows, ("text",)) == ["007", None, None, " x "]
    assert id_texts(rows, ("number",)) == ["7", "-1", None, str(2**63 - 1)]
    assert id_texts(rows, ("large",)) == [str(2**64 - 1), "0", None, "1"]
    assert id_texts(rows, ("short",)) == ["a", None, None, "a"]
