"""Rows that a Python caller holds in memory: an Arrow table, or a pandas DataFrame made one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.errors import InvalidInput
from pipeline.sources.canonical import encoded
from pipeline.sources.files import InputFile
from pipeline.sources.places import Place

_BATCH_ROWS = 4096
_UNTYPED = (pa.ArrowException, TypeError, ValueError, OverflowError)


class TableSource:
    """An Arrow table as an input, in the order of its rows.

    It has no files, so it is known by its content: the fingerprint is a hash of every value.
    """

    files: tuple[InputFile, ...] = ()

    def __init__(self, table: pa.Table) -> None:
        self.schema: pa.Schema = table.schema.remove_metadata()
        self._table = table.replace_schema_metadata(None)

    @property
    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that change with any value, name or type."""
        found = hashlib.blake2b(digest_size=16)
        sink = _Hashing(found)
        with pa.ipc.new_stream(pa.PythonFile(sink, "w"), self.schema) as stream:
            for batch in self._table.to_batches(max_chunksize=_BATCH_ROWS):
                stream.write_batch(batch)
        return found.hexdigest()

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows from position `start` on; never an empty batch."""
        for batch in self._table.slice(start).to_batches(max_chunksize=_BATCH_ROWS):
            if batch.num_rows:
                yield batch

    def place(self, position: int) -> Place:
        """Return where the row at a position is. Raises IndexError if there is no such row."""
        if not 0 <= position < self._table.num_rows:
            raise IndexError(f"the input has no row at position {position}")
        return Place("input", position + 1, "row")


class _Hashing:
    """A file that keeps nothing but the hash of what is written."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Do nothing: there is no file."""


def to_table(rows: Any) -> pa.Table:
    """Return an Arrow table of the rows of a DataFrame, a table, a record batch or a record batch reader.

    A DataFrame's index is left out. Raises InvalidInput if the rows are of another type, two columns have one name, or
    a column cannot be stored as one Arrow type.
    """
    if isinstance(rows, pa.Table):
        table = rows
    elif isinstance(rows, pa.RecordBatch):
        table = pa.Table.from_batches([rows])
    elif isinstance(rows, pa.RecordBatchReader):
        table = rows.read_all()
    else:
        table = _of_frame(rows)
    doubled = [name for name, count in Counter(table.column_names).items() if count > 1]
    if doubled:
        raise InvalidInput(f'input: two columns have the name "{doubled[0]}"; rename one of them')
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            for chunk in column.chunks[:1]:
                encoded(chunk.slice(0, 0))
        except TypeError:
            raise InvalidInput(
                f'input: the column "{field.name}" is of the type {field.type}, which has no place in a job; cast it to'
                " another type, or leave it out"
            ) from None
    return _with_plain_dictionaries(table)


def _of_frame(rows: Any) -> pa.Table:
    import pandas as pd

    if not isinstance(rows, pd.DataFrame):
        raise InvalidInput(
            f"input: a pandas DataFrame or an Arrow table is needed, not {type(rows).__name__}; make one with"
            " pandas.DataFrame(...) or pyarrow.table(...)"
        )
    named = [name for name in rows.columns if not isinstance(name, str)]
    if named:
        raise InvalidInput(f"input: the column name {named[0]!r} is not text; rename it with frame.rename(columns=...)")
    if not rows.columns.is_unique:
        doubled = rows.columns[rows.columns.duplicated()][0]
        raise InvalidInput(f'input: two columns have the name "{doubled}"; rename one of them')
    try:
        return pa.Table.from_pandas(rows, preserve_index=False)
    except _UNTYPED as error:
        name = next((name for name in rows.columns if not _is_typed(rows[[name]])), None)
        what = "the frame" if name is None else f'the column "{name}"'
        raise InvalidInput(
            f"input: {what} cannot be read as values of one type: {error}; convert it, for example with"
            " frame[...].astype(str)"
        ) from error


def _is_typed(rows: Any) -> bool:
    try:
        pa.Table.from_pandas(rows, preserve_index=False)
    except _UNTYPED:
        return False
    return True


def _with_plain_dictionaries(table: pa.Table) -> pa.Table:
    """Return the table, its dictionaries decoded where Parquet cannot hold them: with a null or a nested value."""
    for index, field in enumerate(table.schema):
        if not pa.types.is_dictionary(field.type):
            continue
        column = table.column(index)
        if pa.types.is_nested(field.type.value_type) or any(chunk.dictionary.null_count for chunk in column.chunks):
            chunks = [chunk.dictionary_decode() for chunk in column.chunks]
            plain = pa.chunked_array(chunks, field.type.value_type)
            table = table.set_column(index, field.with_type(plain.type), plain)
    return table
