"""A value that each row of an output has: a column, or a field of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipeline.errors import InvalidInput
from pipeline.records import Row
from pipeline.suggest import did_you_mean, nearest

_PARSED = "parsed"


class Field(Struct, frozen=True):
    """Where the value is, the column and the keys within it, and its type."""

    path: tuple[str, ...]
    type: pa.DataType

    def value(self, row: Row) -> Any:
        """Return the value of a row."""
        first, *keys = self.path
        value = row[first]
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def column(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the values of some rows."""
        first, *keys = self.path
        column = rows.column(first)
        return pc.struct_field(column, keys) if keys else column


def find_field(name: str, schema: pa.Schema, prefix: str, flag: str) -> Field:
    """Return the column of a name, or the field of a struct: `parsed.NAME`, without the output's prefix, or
    `COLUMN.NAME`. Raises InvalidInput where there is none.
    """
    if name in schema.names:
        return Field((name,), schema.field(name).type)
    first, *keys = name.split(".")
    column = prefix + first if first == _PARSED else first
    if not keys or column not in schema.names:
        raise InvalidInput(f"{flag}: {unknown_column(name, schema.names)}")
    kind, known = schema.field(column).type, first
    for key in keys:
        fields = [field.name for field in kind] if pa.types.is_struct(kind) else []
        if key not in fields:
            raise InvalidInput(f"{flag}: {unknown_column(name, [f'{known}.{field}' for field in fields])}")
        kind, known = kind.field(key).type, f"{known}.{key}"
    return Field((column, *keys), kind)


def may_be_number(kind: pa.DataType) -> bool:
    """Return whether a value of this type can be a number, or a text that is one."""
    if pa.types.is_dictionary(kind):
        return may_be_number(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return may_be_number(kind.storage_type)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(is_number or is_text)


def unknown_column(name: str, names: Sequence[str]) -> str:
    """Return what there is to say of a column that the output does not have."""
    said = f"the output has no column {name!r}"
    hint = did_you_mean([repr(one) for one in nearest(name, names)]) or f"it has {', '.join(map(repr, names))}"
    return f"{said}; {hint}" if names else said
