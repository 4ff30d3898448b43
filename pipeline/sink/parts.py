"""An output in several files: the parts whose rows have changed are written, the others stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import OutputConfig
from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.sink.manifest import Manifest, PartFile, PartName, read_manifest
from pipeline.sink.metadata import OutputMetadata
from pipeline.sink.parquet import Publishable, check_file, write_rows
from pipeline.sink.standing import Part, is_foreign, names_in, parts_in
from pipeline.storage import Destination, Location, storage_of

_ROWS_A_BATCH = 1024
_BUFFER_BYTES = 2**20


def publish_parts(
    results: Publishable,
    batches: Iterable[pa.RecordBatch],
    place: Destination,
    config: OutputConfig,
    metadata: OutputMetadata,
) -> int:
    """Write the parts that are new or have changed beside the directory, check them, put them there, and replace the
    manifest; then remove what it no longer lists. Returns the number of rows.

    A part whose rows are as they were keeps its file. Readers who go by the manifest find the whole old output or the
    whole new one at any moment.

    Args:
        batches: the rows of the results.

    Raises:
        InvalidInput: another program has put a file into the directory, or at the manifest's path.
        CheckpointFailed: the check of a part failed.
        OSError, pa.ArrowException: the disk failed. In each case the manifest, and what it lists, is unchanged.
    """
    owner, storage = results.checkpoint_id, storage_of(place.path)
    _refuse_foreign(place, config, owner)
    own = [part for part in parts_in(place) if part.metadata.checkpoint_id == owner]
    latest = {part.name.number: part for part in own}
    expected = set(names_in(place))

    def refuse_others(_: Path) -> None:
        if not config.overwrite and set(names_in(place)) - expected:
            raise in_the_way(str(place))

    files: list[PartFile] = []
    with ExitStack() as placed:
        for number, rows in enumerate(_split(batches, config.rows_per_file)):
            old = latest.get(number)
            changed = rows if old is None else _unless_same(rows, old, results.schema, config.compression)
            if changed is None:
                assert old is not None
                files.append(PartFile.of(str(old.name), old.rows, old.path))
                continue
            name = str(PartName(number, 0 if old is None else old.name.revision + 1))
            draft = placed.enter_context(storage.publish(place.file(name), owner, refuse_others, beside=True))
            count, cost = write_rows(results, changed, draft, config.compression, metadata)
            check_file(draft, results, count, cost)
            files.append(PartFile.of(name, count, draft))
            expected.add(name)
        manifest = Manifest(metadata.version, metadata.job, metadata.run_ids, tuple(files))
        if manifest.rows != results.count:
            raise CheckpointFailed(f"{place}: {manifest.rows} rows where the plan has {results.count}; not published")
    standing = read_manifest(place.head)
    if standing is None or standing.files != manifest.files:
        with storage.publish(place.head, owner, lambda _: _refuse_foreign(place, config, owner)) as draft:
            draft.write_text(manifest.encode(), encoding="utf-8")
    listed = {one.path for one in files}
    for part in own:
        if str(part.name) not in listed:
            storage.remove(part.path)
    for name in names_in(place) if config.overwrite else ():
        if name not in listed:  # readers of the directory would stumble over it
            with suppress(IsADirectoryError):
                storage.remove(place.file(name))
    return manifest.rows


def holds(results: Publishable, place: Destination, config: OutputConfig) -> bool:
    """Return whether the parts that stand have exactly these rows, written so: publishing them would write no part."""
    standing = {part.name.number: part for part in parts_in(place)}
    parts = 0
    for number, rows in enumerate(_split(results.batches(), config.rows_per_file)):
        parts, old = number + 1, standing.get(number)
        if old is None or _unless_same(rows, old, results.schema, config.compression) is not None:
            return False
    return parts == len(standing)


def withdraw(place: Destination, checkpoint_id: str) -> None:
    """Remove the manifest of an output that lacks rows by now. Its parts stay. Raises OSError."""
    if read_manifest(place.head) is not None and not is_foreign(place, checkpoint_id):
        storage_of(place.head).remove(place.head)


def in_the_way(what: str) -> InvalidInput:
    """Return the error for something else at an output's place."""
    return InvalidInput(
        f"output.path: {what} was put there by something else while the job ran; move it away, or set"
        " output.overwrite: true, and run the job again: every answer is safe in its checkpoint"
    )


def _refuse_foreign(place: Destination, config: OutputConfig, owner: str) -> None:
    if not config.overwrite and is_foreign(place, owner):
        raise in_the_way(str(place))


def _split(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield the rows of each part, each to be read to its end before the next; one part at least."""
    left = (batch for batch in batches if batch.num_rows)
    waiting: list[pa.RecordBatch] = []

    def part(first: pa.RecordBatch | None) -> Iterator[pa.RecordBatch]:
        room, batch = most, first
        while batch is not None:
            yield batch.slice(0, min(room, batch.num_rows))
            if batch.num_rows > room:
                waiting.append(batch.slice(room))
                return
            room -= batch.num_rows
            batch = next(left, None) if room else None

    first = next(left, None)
    yield part(first)
    while (first := waiting.pop() if waiting else next(left, None)) is not None:
        yield part(first)


def _unless_same(
    batches: Iterator[pa.RecordBatch], old: Part, schema: pa.Schema, compression: str
) -> Iterator[pa.RecordBatch] | None:
    """Return the rows of a part, if those of its file are others or it is written differently; None if it may stay."""
    if not _is_written_so(old.path, schema, compression):
        return batches
    same = 0
    with _Written(old.path) as written:
        for batch in batches:
            if not written.has_next(batch):
                return chain(_first(old.path, same), [batch], batches)
            same += batch.num_rows
        return None if same == old.rows else _first(old.path, same)


def _first(path: Location, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield so many rows of a part file, which have been read before."""
    with _Written(path) as written:
        while rows:
            found = written.take(min(rows, _ROWS_A_BATCH)).combine_chunks()
            yield from found.to_batches()
            rows -= found.num_rows


class _Written:
    """The rows of a part file, from the first on."""

    def __init__(self, path: Location) -> None:
        self._opened = storage_of(path).open(path)

    def __enter__(self) -> _Written:
        file = pq.ParquetFile(
            self._opened, page_checksum_verification=True, pre_buffer=False, buffer_size=_BUFFER_BYTES
        )
        self._batches = file.iter_batches(_ROWS_A_BATCH)
        self._left: pa.Table = file.schema_arrow.empty_table()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def has_next(self, wanted: pa.RecordBatch) -> bool:
        """Return whether the next rows are these. What cannot be read counts as different."""
        try:
            found = self.take(wanted.num_rows)
        except (OSError, pa.ArrowException):
            return False
        return found.num_rows == wanted.num_rows and all(map(_is_same, found.columns, wanted.columns))

    def take(self, rows: int) -> pa.Table:
        """Return the next rows, fewer at the end. Raises OSError, pa.ArrowException."""
        while self._left.num_rows < rows and (more := next(self._batches, None)) is not None:
            self._left = pa.concat_tables([self._left, pa.Table.from_batches([more])])
        found, self._left = self._left.slice(0, rows), self._left.slice(rows)
        return found


def _is_same(found: pa.ChunkedArray, wanted: pa.Array) -> bool:
    """Return whether two columns of a type read the same. NaN is no number equal to itself, and one dictionary may be
    written in several ways.
    """
    is_equal: bool = found.equals(pa.chunked_array([wanted]))
    return is_equal or repr(found.to_pylist()) == repr(wanted.to_pylist())


def _is_written_so(path: Location, schema: pa.Schema, compression: str) -> bool:
    try:
        with storage_of(path).open(path) as opened, pq.ParquetFile(opened) as file:
            groups = range(file.num_row_groups)
            codecs = {file.metadata.row_group(group).column(0).compression for group in groups}
            is_same: bool = file.schema_arrow.equals(schema)
            return is_same and codecs <= {_CODECS.get(compression, compression.upper())}
    except (OSError, pa.ArrowException):
        return False


_CODECS = {"none": "UNCOMPRESSED"}
