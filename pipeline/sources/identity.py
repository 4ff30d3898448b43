"""What a row is: its values for prompts, a key made of its content, its id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.records import Row
from pipeline.sources.canonical import encoded, json_encoded, row_bytes
from pipeline.sources.json_columns import ABSENT, is_json, json_values
from pipeline.sources.values import python_values

CONTENT_KEY_VERSION = b"row-key-1"
_DIGITS = 32


class LoneRow(dict[str, object]):
    """What one row of JSONL has. A column that only other rows have is null, and is not gone through."""

    def __init__(self, present: Iterable[tuple[str, Any]], absent: frozenset[str]) -> None:
        super().__init__(present)
        self._absent = absent

    def __missing__(self, name: str) -> None:
        if name not in self._absent:
            raise KeyError(name)


class JsonRow(dict[str, object]):
    """A row of JSONL in all of the input's columns; `alone` is what it has itself."""

    alone: LoneRow


def row_values(batch: pa.RecordBatch) -> list[Row]:
    """Return each row as a template sees it, from column name to Python value.

    Values are those of `pyarrow.RecordBatch.to_pylist`, except where Python's types cannot hold one: a time with
    nanoseconds other than 0, or a date beyond the year 9999, is text. Of JSONL they are the JSON values as they are; if
    a row lacks a key that others have, its value is None.
    """
    if not batch.schema.names:
        return [{} for _ in range(batch.num_rows)]
    names = batch.schema.names
    has_json = any(map(is_json, batch.schema))
    columns = [
        json_values(column) if has_json and is_json(field) else python_values(column)
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    rows = zip(*columns, strict=True)
    if has_json:
        return [_json_row(names, row) for row in rows]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _json_row(names: Sequence[str], values: Sequence[Any]) -> Row:
    if ABSENT not in values:
        return dict(zip(names, values, strict=True))
    pairs = list(zip(names, values, strict=True))
    row = JsonRow((name, None if value is ABSENT else value) for name, value in pairs)
    absent = frozenset(name for name, value in pairs if value is ABSENT)
    row.alone = LoneRow(((name, value) for name, value in pairs if value is not ABSENT), absent)
    return row


def content_keys(batch: pa.RecordBatch) -> list[str]:
    """Return a key for each row, 32 hexadecimal digits: the same for equal columns and values, in any column order.

    A key is the 128-bit BLAKE2b, personalized with `row-key-1`, of: the number of columns and `;`, the columns' names
    in order of their code points, each as its length in bytes, `:` and its UTF-8, and then the values in the same
    order, each in the form that `pipeline.sources.canonical` describes. A row of JSONL has the columns that are in it.
    """
    whole = content_digests(batch).hex()
    return [whole[at : at + _DIGITS] for at in range(0, len(whole), _DIGITS)]


def content_digests(batch: pa.RecordBatch) -> bytes:
    """Return the keys of all rows behind each other, in 16 bytes each."""
    names = sorted(batch.schema.names)
    begun = _begun(names)
    if not names or not batch.num_rows:
        return begun.digest() * int(batch.num_rows)
    if any(map(is_json, batch.schema)):
        return b"".join(_lone_digests(batch, names, begun))
    rows = row_bytes([batch.column(name) for name in names])
    _, offsets, data = rows.buffers()
    ends, values = np.frombuffer(offsets, np.int64, len(rows) + 1).tolist(), memoryview(data)
    digests = []
    for start, end in pairwise(ends):
        hashed = begun.copy()  # half of what a new one takes
        hashed.update(values[start:end])
        digests.append(hashed.digest())
    return b"".join(digests)


def _lone_digests(batch: pa.RecordBatch, names: Sequence[str], begun: hashlib.blake2b) -> Iterator[bytes]:
    """Yield the key of each row, of the columns that are in it; `begun` is that of a row with all of them."""
    columns: list[Sequence[bytes | None]] = [
        [json_encoded(value) for value in json_values(column)] if is_json(field) else encoded(column)
        for field, column in ((batch.schema.field(name), batch.column(name)) for name in names)
    ]
    for row in zip(*columns, strict=True):
        own = [name for name, value in zip(names, row, strict=True) if value is not None]
        hashed = begun.copy() if len(own) == len(names) else _begun(own)
        hashed.update(b"".join([value for value in row if value is not None]))
        yield hashed.digest()


def _begun(names: Sequence[str]) -> hashlib.blake2b:
    """Return the hash of the head of a key, for rows with these columns."""
    texts = [name.encode() for name in names]
    header = b"%d;" % len(texts) + b"".join(b"%d:%b" % (len(raw), raw) for raw in texts)
    return hashlib.blake2b(header, digest_size=16, person=CONTENT_KEY_VERSION)


def is_id_type(kind: pa.DataType) -> bool:
    """Return whether a column of this type can be the id: text, integers or UUIDs, also dictionary-encoded."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if isinstance(kind, pa.UuidType):
        return True
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in (*texts, pa.types.is_integer))


def id_texts(batch: pa.RecordBatch, columns: Sequence[str]) -> list[str | None]:
    """Return the ids as text: strings unchanged, integers in decimal, UUIDs in their usual form; those of several
    columns joined by `/`.

    None if one of them is missing: null, empty, or a JSON value of another type.
    """
    first, *others = (_id_texts(batch, column) for column in columns)
    if not others:
        return first
    return [None if None in row else "/".join(map(str, row)) for row in zip(first, *others, strict=True)]


def _id_texts(batch: pa.RecordBatch, column: str) -> list[str | None]:
    index = batch.schema.get_field_index(column)
    if is_json(batch.schema.field(index)):
        values = [None if type(value) not in (str, int) else value for value in json_values(batch.column(index))]
    else:
        values = python_values(batch.column(index))
    return [None if value is None or value == "" else str(value) for value in values]
