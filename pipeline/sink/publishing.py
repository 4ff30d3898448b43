"""The publishing of an output: it is written beside its path, checked, and only then renamed."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa

from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.sink.metadata import OutputMetadata
from pipeline.sink.names import is_foreign
from pipeline.sink.parquet import Publishable, check_file, write_rows
from pipeline.storage import Location, storage_of


def publish(
    results: Publishable,
    path: Location,
    *,
    compression: str,
    metadata: OutputMetadata,
    whole: bool,
    overwrite: bool,
    seconds: float | None = None,
) -> int:
    """Write the results beside `path`, check them, and replace `path` by them. Returns the number of rows.

    Args:
        whole: every row of the plan must be there.
        overwrite: replace the file also if it was not written from this checkpoint.
        seconds: give up after so long.

    Raises:
        OutOfTime: it took longer than `seconds`; `path` is unchanged.
        CheckpointFailed: the disk or the check failed; `path` is unchanged.
        InvalidInput: another program has put a file at `path`, which was left there.
    """
    checkpoint_id = results.checkpoint_id
    give_up = None if seconds is None else time.monotonic() + seconds

    def refuse_foreign(_: Path) -> None:
        if not overwrite and is_foreign(path, checkpoint_id):
            raise InvalidInput(
                f"output.path: {path} was put there by something else while the job ran; move it away, or set"
                " output.overwrite: true, and run the job again: every answer is safe in its checkpoint"
            )

    try:
        with storage_of(path).publish(path, checkpoint_id, refuse_foreign) as draft:
            rows, cost = write_rows(results, draft, compression, metadata, give_up)
            if whole and rows != results.count:
                raise CheckpointFailed(f"{path}: {rows} rows where the plan has {results.count}; it was not published")
            check_file(draft, results, rows, cost)
    except (OSError, pa.ArrowException) as error:
        raise CheckpointFailed(f"{path}: the output cannot be written: {error}") from error
    return rows


def remove(path: Location) -> None:
    """Remove an output that is superseded, if it exists. Raises CheckpointFailed."""
    try:
        storage_of(path).remove(path)
    except OSError as error:
        raise CheckpointFailed(f"{path}: superseded, and cannot be removed: {error.strerror}") from error
