"""The paths of an output, and whose file is at its path."""

from __future__ import annotations

from typing import TypeVar

from pipeline.sink.metadata import read_footer, read_metadata
from pipeline.storage import Location, is_taken

_Place = TypeVar("_Place", bound=Location)


def partial_path(output: _Place) -> _Place:
    """Return where a run that stops early writes what it has."""
    return output.with_name(output.name.removesuffix(".parquet") + ".partial.parquet")  # type: ignore[return-value]


def is_own(path: Location, checkpoint_id: str) -> bool:
    """Return whether the file at `path` is an output that was written from this checkpoint."""
    return (metadata := read_metadata(path)) is not None and metadata.checkpoint_id == checkpoint_id


def is_foreign(path: Location, checkpoint_id: str) -> bool:
    """Return whether there is any other file at `path`."""
    return is_taken(path) and not is_own(path, checkpoint_id)


def shows(path: Location, state: str, rows: int) -> bool:
    """Return whether the file at `path` is the output of this state, with so many rows."""
    found = read_footer(path)
    return found is not None and found.metadata.state == state and found.rows == rows
