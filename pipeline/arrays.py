"""Arrow arrays of Python's and numpy's values, made without `pa.array` and `pa.scalar`, which import pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SCALARS: dict[pa.DataType, tuple[type, Any]] = {
    pa.bool_(): (bool, False),
    pa.int64(): (int, 0),
    pa.float64(): (float, 0.0),
    pa.string(): (str, ""),
}
"""The types of `scalars`: Python's type of the values, and what stands where there is none."""


def scalars(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return an array of bool, int64, double or string, with None as null.

    Raises TypeError for a value of another type, and OverflowError for an integer beyond 64 bits.
    """
    python, nothing = _SCALARS[kind]
    if others := {*map(type, values)} - {python, type(None)}:
        raise TypeError(f"a value is {others.pop().__name__}, not {python.__name__}")
    known = [value is not None for value in values]
    if all(known):
        return _whole(values, kind)
    array = _whole([nothing if value is None else value for value in values], kind)
    return pa.Array.from_buffers(kind, len(array), [flags(known).buffers()[1], *array.buffers()[1:]])


def _whole(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == pa.string():
        return strings(values)
    if kind == pa.bool_():
        return flags(values)
    numbers = np.array(values, np.int64 if kind == pa.int64() else np.float64)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def strings(values: Sequence[str]) -> pa.StringArray:
    """Return an array of texts."""
    return _variable(pa.string(), np.int32, [value.encode() for value in values])


def binaries(values: Sequence[bytes]) -> pa.LargeBinaryArray:
    """Return an array of bytes."""
    return _variable(pa.large_binary(), np.int64, values)


def integers(values: npt.NDArray[np.int64]) -> pa.Int64Array:
    """Return an array of whole numbers."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def flags(values: Sequence[bool] | npt.NDArray[np.bool_]) -> pa.BooleanArray:
    """Return an array of truth values."""
    bits = np.packbits(np.array(values, np.bool_), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def _variable(kind: pa.DataType, offset: type[np.int32 | np.int64], values: Sequence[bytes]) -> pa.Array:
    ends = np.cumsum([0, *map(len, values)], dtype=offset)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])
