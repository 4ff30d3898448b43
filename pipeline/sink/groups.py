"""Row groups of bounded size, for every Parquet file that is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

_MAX_ROWS = 65_536
_MAX_BYTES = 6 * 2**20
_MAX_PIECES = 256


class RowGroup:
    """The rows of the next row group."""

    def __init__(self) -> None:
        self._pieces: list[pa.RecordBatch] = []
        self.rows = self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the rows are as many, or take as many bytes, as a row group should have."""
        return self.rows >= _MAX_ROWS or self._bytes >= _MAX_BYTES

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        if not batch.num_rows:
            return  # an empty batch would take memory for nothing
        self.rows += batch.num_rows
        self._bytes += batch.nbytes
        self._pieces.append(batch)
        if len(self._pieces) >= _MAX_PIECES:
            # Each piece takes some kilobytes, however few rows it has.
            self._pieces = pa.Table.from_batches(self._pieces).combine_chunks().to_batches()

    def take(self, schema: pa.Schema) -> pa.Table:
        """Return the rows, which leave the group empty."""
        table = pa.Table.from_batches(self._pieces, schema)
        self._pieces, self.rows, self._bytes = [], 0, 0
        return table


def row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of the batches in row groups, without empty ones."""
    group = RowGroup()
    for batch in batches:
        group.add(batch)
        del batch
        if group.is_full:
            yield group.take(schema)
    if group.rows:
        yield group.take(schema)


def write_groups(writer: pq.ParquetWriter, groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Write row groups, each by a thread while the next one is made; no more are kept. Yields each of them."""
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as beside:
        for group in groups:
            if written is not None:
                written.result()
            written = beside.submit(writer.write_table, group)
            yield group
            del group
        if written is not None:
            written.result()
