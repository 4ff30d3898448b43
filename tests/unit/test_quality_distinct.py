"""How many different values a column has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.quality.distinct import DistinctCount


@pytest.mark.parametrize(
    ("values", "type"),
    [
        (["a", "b", "a", None], pa.string()),
        ([1, 2, 1, None], pa.int64()),
        ([1.5, 2.5, 1.5, None], pa.float64()),
        ([True, False, True, None], pa.bool_()),
        ([0, 1, 0, None], pa.timestamp("us", "UTC")),
        ([[1], [2], [1], None], pa.list_(pa.int64())),
        ([{"a": 1}, {"a": 2}, {"a": 1}, None], pa.struct([("a", pa.int64())])),
        ([b"a", b"b", b"a", None], pa.binary()),
    ],
    ids=str,
)
def test_values_count_once_whatever_part_they_come_in(values: list[Any], type: pa.DataType) -> None:
    found = DistinctCount()
    for part in (values, values[::-1], [None], []):
        found.add(pa.array(part, type))
    assert (found.rows, found.nulls, found.distinct, found.repeated) == (9, 3, 2, 4)


def test_hashes_count_as_values_do() -> None:
    found = DistinctCount()
    for part in ([3, 4, 3], [4], []):
        found.add_hashes(np.array(part, np.uint64))
    assert (found.rows, found.distinct, found.repeated) == (4, 2, 2)
