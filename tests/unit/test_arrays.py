"""Arrow arrays made of Python's values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrays import scalars

_VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
}


@pytest.mark.parametrize("kind", _VALUES, ids=str)
def test_an_array_holds_each_value_and_each_null(kind: pa.DataType) -> None:
    @given(st.lists(_VALUES[kind] | st.none()))
    def check(values: list[Any]) -> None:
        array = scalars(values, kind)
        array.validate(full=True)
        assert array.equals(pa.array(values, kind))

    check()


@pytest.mark.parametrize(
    ("value", "kind", "error"),
    [
        (1.5, pa.int64(), "a value is float, not int"),
        (True, pa.int64(), "a value is bool, not int"),
        (1, pa.float64(), "a value is int, not float"),
        (1, pa.bool_(), "a value is int, not bool"),
        (b"a", pa.string(), "a value is bytes, not str"),
    ],
)
def test_a_value_of_another_type_is_refused(value: object, kind: pa.DataType, error: str) -> None:
    with pytest.raises(TypeError, match=error):
        scalars([None, value], kind)


def test_an_integer_beyond_64_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        scalars([2**63], pa.int64())
