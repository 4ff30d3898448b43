"""Files without a name, which are gone with the process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def nameless_file(directory: Path) -> int:
    """Return the descriptor of a new one: in a directory or the nearest one above it that exists, or where the system
    keeps temporary files if that cannot be written to. Raises OSError.
    """
    existing = next(one for one in (directory, *directory.absolute().parents) if one.is_dir())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            return os.dup(file.fileno())
    except OSError:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def write_at(descriptor: int, data: bytes | memoryview, at: int) -> None:
    """Write all of the data at a position. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
