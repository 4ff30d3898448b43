"""How many commits were acknowledged, in a small file apart from the journal.

A torn write-ahead log looks to SQLite just like a shorter one: only a count that is kept elsewhere shows that part of
it is missing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipeline.errors import CheckpointDamaged, CheckpointFailed

FILE_NAME = "acknowledged"
_DIGITS = 20


def read_count(directory: Path) -> int | None:
    """How many commits were acknowledged; None where the file is missing.

    Raises CheckpointDamaged, and CheckpointFailed where it cannot be read.
    """
    path = directory / FILE_NAME
    try:
        with path.open("rb") as file:
            text = file.read(len(_text(0)) + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointFailed(f"{path}: cannot be read: {error.strerror}") from error
    number, _, _ = text.partition(b" ")
    if not number.isdigit() or len(number) > _DIGITS or text != _text(int(number)):
        raise CheckpointDamaged(f"{path}: damaged: it holds no count")
    return int(number)


class Count:
    """The file, open for the one writer. A missing one is made; the caller puts its name on disk. Raises OSError."""

    def __init__(self, directory: Path, count: int) -> None:
        path, draft = directory / FILE_NAME, directory / f"{FILE_NAME}.new"
        is_missing = not path.exists()
        self._file = os.open(draft if is_missing else path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if is_missing:
            self.put(count)
            os.fsync(self._file)
            draft.rename(path)

    def put(self, count: int) -> None:
        """Set the count. Not synced: it may lag behind the journal, never run ahead of it."""
        os.pwrite(self._file, _text(count), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def sync_directory(directory: Path) -> None:
    """Put a directory's entries on disk. Raises OSError."""
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_path(directory: Path) -> None:
    """Put a directory's entries on disk, and its own in those above it, any of which may be new. Raises OSError."""
    directory = directory.absolute()
    sync_directory(directory)
    for parent in directory.parents:
        if parent.stat().st_dev != directory.stat().st_dev:
            break  # a mount point was there before
        with suppress(PermissionError):  # and so was a directory that may not be read
            sync_directory(parent)


def _text(count: int) -> bytes:
    # The complement shows a wrong digit.
    return b"%020d %020d\n" % (count, 10**20 - 1 - count)
