"""The publishing of an output: it is written beside its place, checked, and only then renamed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from pipeline.config import OutputConfig
from pipeline.errors import CheckpointFailed
from pipeline.sink import parts
from pipeline.sink.metadata import OutputMetadata
from pipeline.sink.parquet import Publishable, check_file, in_time, write_rows
from pipeline.sink.standing import is_foreign
from pipeline.storage import Destination, storage_of


def publish(
    results: Publishable,
    place: Destination,
    config: OutputConfig,
    metadata: OutputMetadata,
    *,
    whole: bool,
    seconds: float | None = None,
) -> int:
    """Write the results beside `place`, check them, and replace what is there by them. Returns the number of rows.

    Args:
        config: how they are written, and whether what was not written from this checkpoint is replaced too.
        whole: every row of the plan must be there.
        seconds: give up after so long.

    Raises:
        OutOfTime: it took longer than `seconds`; what is at the place is unchanged, as in all other cases.
        CheckpointFailed: the disk or the check failed.
        InvalidInput: another program has put something at the place, which was left there.
    """
    give_up = None if seconds is None else time.monotonic() + seconds
    batches = in_time(results.batches(), give_up)
    try:
        if place.is_directory:
            return parts.publish_parts(results, batches, place, config, metadata)
        return _publish_file(results, batches, place, config, metadata, whole=whole)
    except (OSError, pa.ArrowException) as error:
        raise CheckpointFailed(f"{place}: the output cannot be written: {error}") from error


def _publish_file(
    results: Publishable,
    batches: Iterator[pa.RecordBatch],
    place: Destination,
    config: OutputConfig,
    metadata: OutputMetadata,
    *,
    whole: bool,
) -> int:
    def refuse_foreign(_: Path) -> None:
        if not config.overwrite and is_foreign(place, results.checkpoint_id):
            raise parts.in_the_way(str(place))

    with storage_of(place.path).publish(place.path, results.checkpoint_id, refuse_foreign) as draft:
        rows, cost = write_rows(results, batches, draft, config.compression, metadata)
        if whole and rows != results.count:
            raise CheckpointFailed(f"{place}: {rows} rows where the plan has {results.count}; it was not published")
        check_file(draft, results, rows, cost)
    return rows


def supersede(place: Destination, checkpoint_id: str, *, by_whole: bool, overwrite: bool) -> None:
    """Remove what a run has made out of date: the partial output once the whole one stands, else the manifest, and
    what a killed run has left of either. Raises CheckpointFailed.
    """
    try:
        if by_whole:
            if overwrite or not is_foreign(place.partial, checkpoint_id):
                storage_of(place.path).remove(place.partial.path)
        elif place.is_directory:
            parts.withdraw(place, checkpoint_id)
    except OSError as error:
        raise CheckpointFailed(f"{place}: what is superseded cannot be removed: {error}") from error
    for path in dict.fromkeys((place.path, place.head, place.partial.path)):
        with suppress(OSError):  # it is only in the way
            storage_of(path).discard(path, checkpoint_id)
