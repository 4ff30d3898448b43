"""A journal as it is at a moment, copied while a run has it in hand.

The writer keeps the database to itself, so no other connection can read it, but its files can be copied. A copy of the
database beside a later copy of the log is what SQLite finds after a crash: whatever has been moved from the log into
the database in the meantime stands in the log too, and a frame that is cut off ends it
(https://www.sqlite.org/wal.html). That holds as long as the log was not begun anew between the two, which its header
shows: https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from pipeline.errors import CheckpointFailed
from pipeline.journal.database import open_reader
from pipeline.journal.files import DATABASE_NAME, LOG_NAME
from pipeline.journal.recovery.replacement import is_under_way
from pipeline.journal.store import Journal

_LOG_HEADER_BYTES = 32


def read_copy(directory: Path, scratch: Path) -> Journal | None:
    """The journal at this moment, for reading, by a copy in the empty directory `scratch`. None where it was in motion
    while it was copied: its log was begun anew, or its run ended; then try again.

    Raises CheckpointFailed where it cannot be copied, or not be read.
    """
    if is_under_way(directory):
        return None
    try:
        before = _generation(directory)
        for name in (DATABASE_NAME, LOG_NAME):
            with suppress(FileNotFoundError):
                shutil.copyfile(directory / name, scratch / name)
        if _generation(directory) != before:
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointFailed(f"{directory}: the journal cannot be copied to {scratch}: {error.strerror}") from error
    return Journal(directory, open_reader(scratch))


def _generation(directory: Path) -> tuple[object, ...]:
    """What stays the same as long as the log is only added to. Without a log it is the database that must stand still.

    Raises OSError.
    """
    facts = (directory / DATABASE_NAME).stat()
    with suppress(FileNotFoundError), (directory / LOG_NAME).open("rb") as log:
        header = log.read(_LOG_HEADER_BYTES)
        if header:
            return facts.st_ino, header
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
