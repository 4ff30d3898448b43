"""Columns of JSONL that hold each value as its JSON text, because the rows differ: in type, by nesting, by lacking it.

Such a column is of strings, and its field is marked. A null is a key that the row does not have; a null of the row is
the text `null`. So a row keeps what it alone says, whatever the others hold. Only the output gives the column one type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

import pyarrow as pa

from pipeline.arrays import scalars
from pipeline.records import PrintedList, PrintedObject, json_text

MAX_LEVELS = 500
"""How deep a value may be nested: well below where Python's own JSON gives up, wherever that is called from."""

_MARK = b"llm-batch-pipeline"
Written = Literal["text", "value"]
"""What the output has of a column: the JSON text, or the value itself, where all are of one scalar type."""


class Absent:
    """Stands for the value of a key that a row does not have."""


ABSENT = Absent()


def json_field(name: str, written: Written) -> pa.Field:
    """Return the field of a marked column."""
    return pa.field(name, pa.string(), metadata={_MARK: written.encode()})


def is_json(field: pa.Field) -> bool:
    """Return whether the field is that of a marked column."""
    return field.metadata is not None and _MARK in field.metadata


def json_array(values: Iterable[Any]) -> pa.Array:
    """Return a marked column's array, of values or ABSENT."""
    return scalars([None if value is ABSENT else json_text(value) for value in values], pa.string())


def json_values(array: pa.Array) -> list[Any]:
    """Return the values of a marked column, ABSENT if the row does not have the key."""
    return [ABSENT if text is None else _with_lists(_DECODER.decode(text)) for text in array.to_pylist()]


def written_column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    """Return the column that the output has, of the type of `field`, which depends on the whole input."""
    index = batch.schema.get_field_index(field.name)
    column, own = batch.column(index), batch.schema.field(index)
    if not is_json(own):
        return column
    if own.metadata[_MARK] == b"text":
        return scalars([None if text == "null" else text for text in column.to_pylist()], pa.string())
    return scalars([None if text is None else json.loads(text) for text in column.to_pylist()], field.type)


def _with_lists(value: Any) -> Any:
    """Return the value, each list in it a PrintedList."""
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, (dict, list)):
                value[name] = _with_lists(item)
        return value
    if isinstance(value, list):
        items = PrintedList()
        for item in value:
            items.append(_with_lists(item) if isinstance(item, (dict, list)) else item)
        return items
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=PrintedObject)
