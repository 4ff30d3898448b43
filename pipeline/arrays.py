"""Arrow arrays of Python's and numpy's values, made without `pa.array` and `pa.scalar`, which import pandas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa


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
