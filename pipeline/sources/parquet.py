"""Parquet files: every column keeps its type, and row groups before the first row wanted are not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.chunks import BATCH_BYTES, BATCH_ROWS, Chunk, FileReader, Mark
from pipeline.sources.files import InputFile
from pipeline.sources.places import Place, input_error
from pipeline.sources.utf8 import is_utf8, marked_not_utf8

_BUFFER_BYTES = 2**20
_PROBE_ROWS = 16


def readers(files: Sequence[InputFile]) -> list[FileReader]:
    """Read the footer of each file. Raises InvalidJob if it is damaged, names a column twice, or names none."""
    return [_reader(file) for file in files]


def _reader(file: InputFile) -> FileReader:
    with _sound(file.path), _open(file) as parquet:
        schema = parquet.schema_arrow
        rows = parquet.metadata.num_rows
    duplicates = sorted(name for name, count in Counter(schema.names).items() if count > 1)
    if duplicates:
        raise input_error(f'{file.path}: two columns have the name "{duplicates[0]}"')
    if rows and not schema.names:
        raise input_error(f"{file.path} has rows but no columns")
    return FileReader(file, schema, partial(_chunks, file))


def _chunks(file: InputFile, _: Mark | None = None) -> Iterator[Chunk]:
    path = file.path
    with _sound(path):
        parquet = _open(file)
    with parquet:
        first = 1
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            yield Chunk(rows, partial(_read, path, parquet, group), partial(_place, path, first))
            first += rows


def _read(path: str, parquet: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
    with _sound(path):
        left = parquet.metadata.row_group(group).num_rows
        for batch in parquet.iter_batches(batch_size=_batch_rows(parquet, group), row_groups=[group]):
            left -= batch.num_rows
            yield _checked(batch)
        if left:
            raise input_error(f"{path} is damaged: row group {group} does not hold as many rows as the footer says")


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch if it is valid, with a mark on text columns whose bytes are not UTF-8: they must not be used.

    Some writers (ClickHouse) store any bytes as text.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        batch.validate()
        fields = [
            field if is_utf8(column) else marked_not_utf8(field)
            for field, column in zip(batch.schema, batch.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields))
    return batch


def _batch_rows(parquet: pq.ParquetFile, group: int) -> int:
    """Return how many rows of the group make a batch.

    The footer's size is that of the encoded columns, where a text that repeats counts once; the first rows show what
    they take when decoded.
    """
    facts = parquet.metadata.row_group(group)
    row_bytes = facts.total_byte_size / max(1, facts.num_rows)
    if facts.num_rows > _PROBE_ROWS:
        probe = next(parquet.iter_batches(batch_size=_PROBE_ROWS, row_groups=[group]), None)
        if probe is not None and probe.num_rows:
            row_bytes = max(row_bytes, probe.nbytes / probe.num_rows)
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1.0, row_bytes))))


def _place(path: str, first: int, index: int) -> Place:
    return Place(path, first + index, "row")


def _open(file: InputFile) -> pq.ParquetFile:
    # Not mapped into memory: a file cut short while it is read would end the process (SIGBUS). Buffered, so that
    # a row group's columns are not held at once.
    return pq.ParquetFile(
        file.path if file.spool is None else file.open(),
        memory_map=False,
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        page_checksum_verification=True,
    )


@contextmanager
def _sound(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise input_error(
            f"{path} cannot be read as Parquet; it is damaged, cut short or of another format: {error}"
        ) from error
