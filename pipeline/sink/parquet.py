"""The writing of a Parquet file in bounded memory, and the check that reads it back."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import CheckpointFailed
from pipeline.sink.groups import row_groups, write_groups
from pipeline.sink.metadata import METADATA_KEY, OutputMetadata


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
    with pq.ParquetWriter(
        draft,
        schema.with_metadata(kept),
        compression=compression,
        write_page_checksum=True,  # answers may have to be recovered from here
    ) as writer:
        for group in write_groups(writer, row_groups(batches, schema)):
            rows += group.num_rows
            cost += pc.sum(group.column(results.prefix + "cost_usd")).as_py() or 0
            del group
    return rows, cost


def unwritable(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Yield the name of each column whose type Parquet cannot hold, and why."""
    for field in schema:
        try:
            pq.ParquetWriter(io.BytesIO(), pa.schema([field])).close()
        except pa.ArrowException as error:
            yield field.name, str(error)


def in_time(batches: Iterable[pa.RecordBatch], give_up: float | None) -> Iterator[pa.RecordBatch]:
    """Yield the batches; raises OutOfTime once the monotonic clock is at `give_up`."""
    for batch in batches:
        if give_up is not None and time.monotonic() >= give_up:
            raise OutOfTime
        yield batch
        del batch


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
