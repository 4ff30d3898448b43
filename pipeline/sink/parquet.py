"""The writing of a Parquet file in bounded memory, and the check that reads it back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import CheckpointFailed
from pipeline.sink.metadata import METADATA_KEY, OutputMetadata

_ROWS_PER_GROUP = 65_536
_BYTES_PER_GROUP = 8 * 2**20
_MAX_PIECES = 256


class Publishable(Protocol):
    """The rows of an output, and what they are from."""

    @property
    def checkpoint_id(self) -> str:
        """What the output is written from."""
        ...

    @property
    def count(self) -> int:
        """How many rows there are once all have an outcome."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The output's schema."""
        ...

    @property
    def prefix(self) -> str:
        """What stands before the names of the result columns."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield every row that has an outcome, in input order."""
        ...


class OutOfTime(Exception):
    """The output could not be written within the time that was given."""


def write_rows(
    results: Publishable,
    batches: Iterable[pa.RecordBatch],
    draft: Path,
    compression: str,
    metadata: OutputMetadata,
) -> tuple[int, Decimal]:
    """Write rows of the results to `draft`. Returns their number and the sum of their cost, in USD.

    Raises what reading the rows raises.
    """
    schema = results.schema
    kept = {**(schema.metadata or {}), METADATA_KEY: metadata.encode()}
    rows, cost = 0, Decimal(0)
    written: Future[None] | None = None
    with (
        pq.ParquetWriter(
            draft,
            schema.with_metadata(kept),
            compression=compression,
            write_page_checksum=True,  # answers may have to be recovered from here
        ) as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        for group in _groups(batches):
            rows += group.num_rows
            cost += pc.sum(group.column(results.prefix + "cost_usd")).as_py() or 0
            if written is not None:
                written.result()  # one group is written while the next one is joined; no more are kept
            written = beside.submit(writer.write_table, group)
            del group
        if written is not None:
            written.result()
    return rows, cost


def in_time(batches: Iterable[pa.RecordBatch], give_up: float | None) -> Iterator[pa.RecordBatch]:
    """Yield the batches; raises OutOfTime once the monotonic clock is at `give_up`."""
    for batch in batches:
        if give_up is not None and time.monotonic() >= give_up:
            raise OutOfTime
        yield batch
        del batch


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the rows of the batches in row groups of bounded size, without empty ones."""
    pieces: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if not batch.num_rows:
            continue  # an empty batch would take memory for nothing
        rows += batch.num_rows
        size += batch.nbytes
        pieces.append(batch)
        if len(pieces) >= _MAX_PIECES:
            # Each piece takes some kilobytes, however few rows it has.
            pieces = pa.Table.from_batches(pieces).combine_chunks().to_batches()
        if rows >= _ROWS_PER_GROUP or size >= _BYTES_PER_GROUP:
            yield pa.Table.from_batches(pieces)
            pieces, rows, size = [], 0, 0
    if pieces:
        yield pa.Table.from_batches(pieces)


def check_file(draft: Path, results: Publishable, rows: int, cost: Decimal) -> None:
    """Read the file back, and check its rows, schema and cost. Raises CheckpointFailed if they are not as written."""
    column = results.prefix + "cost_usd"
    with pq.ParquetFile(draft) as file:
        read_cost = sum(
            (pc.sum(batch.column(0)).as_py() or Decimal(0) for batch in file.iter_batches(columns=[column])), Decimal(0)
        )
        is_right = (
            file.metadata.num_rows == rows and file.schema_arrow.names == results.schema.names and read_cost == cost
        )
    if not is_right:
        raise CheckpointFailed(f"{draft}: reads back otherwise than it was written; nothing was published")
