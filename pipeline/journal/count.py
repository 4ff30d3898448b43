"""The number of commits that were acknowledged, in a small file beside the journal.

To SQLite a torn write-ahead log looks like a shorter one. Only a count in another file shows that a part is missing.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import CheckpointDamaged, CheckpointFailed
from pipeline.storage import replacing

FILE_NAME = "acknowledged"
_DIGITS = 20


def read_count(directory: Path) -> int | None:
    """Return how many commits were acknowledged; None if the file is missing.

    Raises CheckpointDamaged, and CheckpointFailed if the file cannot be read.
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
    """The count file, open for the one writer and created if missing. Raises OSError."""

    def __init__(self, directory: Path, count: int) -> None:
        path = directory / FILE_NAME
        if not path.exists():
            with replacing(path, private=True) as draft:
                draft.write_bytes(_text(count))
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def put(self, count: int) -> None:
        """Set the count. It is not synced: it may be behind the journal, never ahead of it."""
        os.pwrite(self._file, _text(count), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _text(count: int) -> bytes:
    # The complement shows a wrong digit.
    return b"%020d %020d\n" % (count, 10**20 - 1 - count)
