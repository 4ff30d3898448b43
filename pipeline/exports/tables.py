"""Exports with a column for each of the output: JSON Lines, CSV, Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.exports.cells import json_text, plain_cells, safe_cells
from pipeline.exports.selection import Chosen
from pipeline.exports.text import as_text
from pipeline.records import Row
from pipeline.sink import row_groups, write_groups
from pipeline.sources.identity import row_values
from pipeline.sources.values import python_values


def write_jsonl(chosen: Chosen, file: BinaryIO) -> int:
    """Write an object for each row."""
    rows = 0
    with as_text(file) as text:
        for row in _rows(chosen):
            text.write(json_text(row) + "\n")
            rows += 1
    return rows


def csv_writer(*, raw_cells: bool, bom: bool) -> Callable[[Chosen, BinaryIO], int]:
    """Return the writer of CSV. Nulls are empty cells; nested values are JSON.

    Without `raw_cells` no text, wherever it comes from, starts a formula. With `bom` the file begins with the mark by
    which Excel knows UTF-8.
    """
    cells = plain_cells if raw_cells else safe_cells

    def write(chosen: Chosen, file: BinaryIO) -> int:
        rows = 0
        with as_text(file, "utf-8-sig" if bom else "utf-8") as text:
            writer = csv.writer(text)
            writer.writerow(cells(chosen.schema.names))
            for batch in _batches(chosen):
                columns = [cells(python_values(column)) for column in batch.columns]
                writer.writerows(zip(*columns, strict=True))
                rows += batch.num_rows
        return rows

    return write


def write_parquet(chosen: Chosen, file: BinaryIO) -> int:
    """Write a Parquet file with the columns' own types."""
    rows = 0
    with pq.ParquetWriter(file, chosen.schema, compression="zstd") as writer:
        for group in write_groups(writer, row_groups(_batches(chosen), chosen.schema)):
            rows += group.num_rows
            del group
    return rows


def _batches(chosen: Chosen) -> Iterator[pa.RecordBatch]:
    schema = chosen.schema
    for part in chosen.parts():
        yield part.rows.select(schema.names)


def _rows(chosen: Chosen) -> Iterator[Row]:
    for batch in _batches(chosen):
        yield from row_values(batch)
