"""How many different values there are, counted by hashes of 64 bits: a million values take 8 MB."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]
_MOST_PENDING = 250_000


class DistinctCount:
    """Counts the different values of a column, and its nulls."""

    def __init__(self) -> None:
        self.rows = 0
        self.nulls = 0
        self._known: Hashes = np.array([], np.uint64)
        self._pending: list[Hashes] = []
        self._pending_size = 0

    def add(self, column: pa.Array) -> None:
        """Take in further values."""
        self.nulls += column.null_count
        self.rows += len(column)
        self._take(hashes(_distinct(column.drop_null())))

    def add_hashes(self, found: Hashes) -> None:
        """Take in further values, none of them null, by their hashes."""
        self.rows += len(found)
        self._take(np.unique(found))

    def _take(self, found: Hashes) -> None:
        self._pending.append(found)
        self._pending_size += len(found)
        if self._pending_size > _MOST_PENDING:
            self._merge()

    @property
    def distinct(self) -> int:
        """How many different values there were, nulls left out."""
        self._merge()
        return len(self._known)

    @property
    def repeated(self) -> int:
        """How many values were there before, nulls left out."""
        return self.rows - self.nulls - self.distinct

    def _merge(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._pending]))
        self._pending, self._pending_size = [], 0


def _distinct(column: pa.Array) -> pa.Array:
    """Return each value once, so that a column of few values costs little; lists and structs as they come."""
    return column if pa.types.is_nested(column.type) else pc.unique(column)


def hashes(column: pa.Array) -> Hashes:
    """Return a hash of each value; a null has that of None. Equal values of one type have equal hashes."""
    kind = column.type
    if pa.types.is_temporal(kind) and not column.null_count:
        column = column.view(pa.int64() if kind.bit_width == 64 else pa.int32())
        kind = column.type
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not column.null_count:
        values: Any = column.to_numpy()
    else:
        texts = column.to_pylist()
        if not pa.types.is_string(kind) or column.null_count:
            texts = list(map(_text, texts))
        values = np.array([*texts, ""], object)[:-1]
    found: Hashes = pd.util.hash_array(values, categorize=False)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
