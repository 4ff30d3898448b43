"""One walk over Arrow's nested types, for whatever is to be made of their leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from typing import Generic, TypeVar

import pyarrow as pa
from msgspec import Struct

T = TypeVar("T")


class Fold(Struct, Generic[T], frozen=True):
    """How to make a T of each value: of a flat array's, of a list's items, a map's entries, a struct's fields."""

    null: T
    flat: Callable[[pa.Array], list[T]]
    items: Callable[[list[T]], T]
    entries: Callable[[list[tuple[T, T]]], T]
    fields: Callable[[Sequence[str], Sequence[T]], T]


def fold(array: pa.Array, how: Fold[T]) -> list[T]:
    """Return one T for each value of the array. A dictionary-encoded value is the value itself."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if len(array.dictionary) > len(array):
            return fold(array.dictionary_decode(), how)
        values = fold(array.dictionary, how)
        return [how.null if index is None else values[index] for index in array.indices.to_pylist()]
    if pa.types.is_map(kind):
        offsets = array.offsets.to_pylist()  # into `keys` and `items`, which a slice shares whole with its origin
        first, count = offsets[0], offsets[-1] - offsets[0]
        keys, items = fold(array.keys.slice(first, count), how), fold(array.items.slice(first, count), how)
        entries = list(zip(keys, items, strict=True))
        parts = [entries[start - first : end - first] for start, end in pairwise(offsets)]
        return _with_nulls(array, [how.entries(part) for part in parts], how)
    if isinstance(
        array, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray, pa.ListViewArray, pa.LargeListViewArray)
    ):
        values_left = iter(fold(array.flatten(), how))
        return [
            how.null if length is None else how.items(list(islice(values_left, length)))
            for length in array.value_lengths().to_pylist()
        ]
    if pa.types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        columns = [fold(child, how) for child in array.flatten()]
        rows = zip(*columns, strict=True) if columns else (() for _ in range(len(array)))
        return _with_nulls(array, [how.fields(names, row) for row in rows], how)
    return how.flat(array)


def _with_nulls(array: pa.Array, values: list[T], how: Fold[T]) -> list[T]:
    if not array.null_count:
        return values
    return [value if valid else how.null for value, valid in zip(values, array.is_valid().to_pylist(), strict=True)]
