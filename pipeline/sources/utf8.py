"""Text columns that hold bytes which are not UTF-8: read, and refused only where such a column is used."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

_MARK = b"llm-batch-pipeline.not-utf8"


def is_utf8(array: pa.Array) -> bool:
    """Return whether all text in the array is UTF-8. Raises pa.ArrowInvalid if something else is wrong with it."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        return False
    return True


def marked_not_utf8(field: pa.Field) -> pa.Field:
    """Return the field of a column that holds such bytes."""
    return field.with_metadata({**(field.metadata or {}), _MARK: b""})


def not_utf8(batch: pa.RecordBatch, used: Collection[str] | None) -> tuple[str, int] | None:
    """Return the first used column (None: any) that holds such bytes, and the index of the first row that does."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.metadata and _MARK in field.metadata and (used is None or field.name in used):
            for index in range(len(column)):
                if not is_utf8(column.slice(index, 1)):
                    return field.name, index
    return None


def texts(array: pa.Array) -> list[str | None]:
    """Return the texts of a flat array, with U+FFFD for what is not UTF-8."""
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return [
            None if raw is None else raw.decode("utf-8", "replace") for raw in array.cast(pa.large_binary()).to_pylist()
        ]
