"""What exports make of whole batches of rows."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.exports.cells import json_text, plain_cells, safe_cells
from pipeline.exports.hub import read_splits, splits_of
from pipeline.sink import RowGroup, row_groups
from pipeline.sources.hashes import text_hashes
from pipeline.sources.values import python_values


def test_a_row_has_its_split_for_ever() -> None:
    shares = read_splits("train=0.5,valid=0.25,test=0.25")
    assert splits_of([f"row-{number}" for number in range(12)], shares).tolist() == [2, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1]
    assert splits_of(["a", "b"], read_splits("train=1")).tolist() == [0, 0]


@pytest.mark.parametrize("text", ["train=0.9,test=0.1", "a=0.333,b=0.333,c=0.334"])
def test_splits_have_their_shares(text: str) -> None:
    shares = read_splits(text)
    counts = np.bincount(splits_of([str(number) for number in range(50_000)], shares), minlength=len(shares)) / 50_000
    assert counts.tolist() == pytest.approx([float(share) for share in shares.values()], abs=0.01)


def test_a_hash_is_that_of_the_text_alone() -> None:
    texts = ["", "a", "ü", "\ud800"]
    expected = [
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=b"p").digest())
        for text in texts
    ]
    assert text_hashes(texts, b"p").tolist() == expected
    assert text_hashes([]).tolist() == []


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("  =1", "'  =1"),
        ("\u00a0@x", "'\u00a0@x"),
        ("\tx", "'\tx"),
        ("-1.5e3", "'-1.5e3"),
        ("+1", "'+1"),
        (-1.5, -1.5),
        ("", ""),
        ("a=1", "a=1"),
        (None, None),
        (True, True),
        (b"\0\1", "AAE="),
        (Decimal("-0.000000700000"), "-0.000000700000"),
        (Decimal("0E-12"), "0.000000000000"),
        ({"a": Decimal("7E-7")}, '{"a": "0.0000007"}'),
        ({"a": b"x"}, '{"a": "eA=="}'),
        (["=1"], '["=1"]'),
    ],
)
def test_a_text_that_starts_a_formula_is_kept_from_it(value: Any, cell: Any) -> None:
    assert safe_cells([value]) == [cell]
    assert plain_cells([value]) == [cell.removeprefix("'") if isinstance(cell, str) else cell]


def test_decimals_are_json_text_without_an_exponent() -> None:
    assert json_text([Decimal("7E-7"), Decimal("0E-12")]) == '["0.0000007", "0.000000000000"]'


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_time_in_utc_is_what_arrow_makes_of_it(unit: str) -> None:
    for numbers in ([0, None, -1, 1_700_000_000], [2**55]):
        array = pa.array(numbers, pa.timestamp(unit, "UTC"))
        try:
            expected = array.to_pylist()
        except (OverflowError, ValueError):
            assert isinstance(python_values(array)[0], str)
            continue
        found = python_values(array)
        assert found == expected
        assert list(map(str, found)) == list(map(str, expected))


def test_row_groups_end_where_they_are_full() -> None:
    schema = pa.schema([("a", pa.string())])
    batches = [pa.record_batch([["x" * 2**20] * rows], schema=schema) for rows in (3, 0, 4, 2, 1)]
    assert [group.num_rows for group in row_groups(iter(batches), schema)] == [7, 3]
    assert list(row_groups(iter(batches[1:2]), schema)) == []
    assert RowGroup().take(schema).num_rows == 0
