"""Where an output stands and is written, and what a file at its path is."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from pipeline.sink.metadata import read_metadata


def partial_path(output: Path) -> Path:
    """Where a run that stops early leaves what it has."""
    return output.with_name(output.name.removesuffix(".parquet") + ".partial.parquet")


def is_own(path: Path, checkpoint_id: str) -> bool:
    """Whether an output stands at `path` that was written from this checkpoint."""
    return (metadata := read_metadata(path)) is not None and metadata.checkpoint_id == checkpoint_id


def is_foreign(path: Path, checkpoint_id: str) -> bool:
    """Whether something else stands there."""
    return path.exists() and not is_own(path, checkpoint_id)


def shows(path: Path, state: str, rows: int) -> bool:
    """Return whether the file at `path` is the output of this state, in so many rows."""
    metadata = read_metadata(path)
    return metadata is not None and metadata.state == state and pq.read_metadata(path).num_rows == rows
