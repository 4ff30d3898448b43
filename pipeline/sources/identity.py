"""What a row is: its values for prompts, a key made of its content, its id."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from pipeline.sources.canonical import encoded
from pipeline.sources.values import python_values

CONTENT_KEY_VERSION = b"row-key-1"


def row_values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """One dict a row, from column name to Python value, as a template sees it.

    Values are those of `pyarrow.RecordBatch.to_pylist`, except where Python's types cannot hold one: a time with
    nanoseconds other than 0, or a date beyond the year 9999, is text.
    """
    if not batch.schema.names:
        return [{} for _ in range(batch.num_rows)]
    names = batch.schema.names
    columns = [python_values(column) for column in batch.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def content_keys(batch: pa.RecordBatch) -> list[str]:
    """One key a row, 32 hexadecimal digits: the same for rows with the same columns and values, in any column order.

    A key is the 128-bit BLAKE2b, personalised with `row-key-1`, of: the number of columns and `;`, the columns' names
    in order of their code points, each as its length in bytes, `:` and its UTF-8, and then the values in
    the same order, each in the form that `pipeline.sources.canonical` describes.
    """
    names = sorted(batch.schema.names)
    header = b"%d;" % len(names) + b"".join(b"%d:%b" % (len(raw), raw) for raw in (name.encode() for name in names))
    columns = [encoded(batch.column(batch.schema.get_field_index(name))) for name in names]
    rows = map(b"".join, zip(*columns, strict=True)) if columns else (b"" for _ in range(batch.num_rows))
    return [hashlib.blake2b(header + row, digest_size=16, person=CONTENT_KEY_VERSION).hexdigest() for row in rows]


def is_id_type(kind: pa.DataType) -> bool:
    """Whether a column of this type can be the id: text or integers, also by dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in (*texts, pa.types.is_integer))


def id_texts(batch: pa.RecordBatch, column: str) -> list[str | None]:
    """The ids as text: strings as they are, integers in decimal, None where null or empty."""
    values = batch.column(batch.schema.get_field_index(column)).to_pylist()
    return [None if value is None or value == "" else str(value) for value in values]
