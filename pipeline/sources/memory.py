"""Rows that a Python caller holds in memory: an Arrow table, or a pandas DataFrame made one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.errors import InvalidInput
from pipeline.sources.files import InputFile
from pipeline.sources.places import Place

_BATCH_ROWS = 4096


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

    A DataFrame's index is left out. Raises InvalidInput if the rows are of another type, or a column cannot be
    stored as one Arrow type.
    """
    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if isinstance(rows, pa.RecordBatchReader):
        return rows.read_all()
    import pandas as pd

    if not isinstance(rows, pd.DataFrame):
        raise InvalidInput(
            f"input: a pandas DataFrame or an Arrow table is needed, not {type(rows).__name__}; make one with"
            " pandas.DataFrame(...) or pyarrow.table(...)"
        )
    named = [name for name in rows.columns if not isinstance(name, str)]
    if named:
        raise InvalidInput(f"input: the column name {named[0]!r} is not text; rename it with frame.rename(columns=...)")
    try:
        return pa.Table.from_pandas(rows, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"input: the frame cannot be read as typed columns: {error}") from error
