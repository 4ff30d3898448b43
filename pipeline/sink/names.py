"""The paths of an output, and whose file is at its path."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from pipeline.sink.metadata import read_metadata


def partial_path(output: Path) -> Path:
    """Return where a run that stops early writes what it has."""
    return output.with_name(output.name.removesuffix(".parquet") + ".partial.parquet")


def is_own(path: Path, checkpoint_id: str) -> bool:
    """Return whether the file at `path` is an output that was written from this checkpoint."""
    return (metadata := read_metadata(path)) is not None and metadata.checkpoint_id == checkpoint_id


def is_foreign(path: Path, checkpoint_id: str) -> bool:
    """Return whether there is any other file at `path`."""
    return path.exists() and not is_own(path, checkpoint_id)


def shows(path: Path, state: str, rows: int) -> bool:
    """Return whether the file at `path` is the output of this state, with so many rows."""
    metadata = read_metadata(path)
    return metadata is not None and metadata.state == state and pq.read_metadata(path).num_rows == rows
