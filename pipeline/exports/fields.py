"""A value that each row of an output has: a column, or a field of its `parsed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InvalidInput
from pipeline.records import Row
from pipeline.sink import Results
from pipeline.suggest import did_you_mean, nearest

_PARSED = "parsed."


@dataclass(frozen=True, slots=True)
class Field:
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


def find_field(name: str, results: Results, flag: str) -> Field:
    """Return the column of a name, or for `parsed.NAME` the field. Raises InvalidInput where there is none."""
    schema = results.schema
    if name in schema.names:
        return Field((name,), schema.field(name).type)
    parsed = results.prefix + "parsed"
    if not name.startswith(_PARSED) or parsed not in schema.names:
        raise InvalidInput(f"{flag}: {unknown_column(name, schema.names)}")
    keys, kind, known = name.removeprefix(_PARSED).split("."), schema.field(parsed).type, _PARSED
    for key in keys:
        fields = [field.name for field in kind] if pa.types.is_struct(kind) else []
        if key not in fields:
            raise InvalidInput(f"{flag}: {unknown_column(name, [known + field for field in fields])}")
        kind, known = kind.field(key).type, f"{known}{key}."
    return Field((parsed, *keys), kind)


def unknown_column(name: str, names: Sequence[str]) -> str:
    """Return what there is to say of a column that the output does not have."""
    hint = did_you_mean([repr(one) for one in nearest(name, names)]) or f"it has {', '.join(map(repr, names))}"
    return f"the output has no column {name!r}; {hint}"
