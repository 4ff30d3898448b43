"""Where an export goes: a file, complete or not at all, or a pipe as it stands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import CheckpointFailed
from pipeline.exports.selection import Chosen
from pipeline.storage import LOCAL

Writer = Callable[[Chosen, BinaryIO], int]
"""Writes the chosen rows into a binary file, and returns how many lines or rows it wrote."""


def write_file(chosen: Chosen, write: Writer, path: Path, record: Callable[[Path], None]) -> int:
    """Write an export to `path`, whole or not at all. Returns what the writer does.

    Args:
        record: is told of the complete file before it is put at `path`; may raise OSError.

    Raises CheckpointFailed where the file cannot be written.
    """
    try:
        with LOCAL.publish(path, chosen.results.checkpoint_id, record) as draft, draft.open("wb") as file:
            return write(chosen, file)
    except OSError as error:
        raise CheckpointFailed(f"{path}: the export cannot be written: {error.strerror}") from error


def write_stream(chosen: Chosen, write: Writer, path: Path | None) -> int:
    """Write an export into a pipe or a device as it stands, or to stdout where there is no path. Returns what the
    writer does.

    Raises CheckpointFailed where it cannot be written to.
    """
    try:
        if path is not None:
            with path.open("wb") as file:
                return write(chosen, file)
        rows = write(chosen, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return rows
    except OSError as error:
        raise CheckpointFailed(f"{path or 'stdout'}: the export cannot be written: {error.strerror}") from error
