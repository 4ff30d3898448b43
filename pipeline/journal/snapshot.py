"""A copy of the journal of a running job, as it is at one moment.

The writer locks the database, so no other connection can read it, but its files can be copied. A copy of the database
and a later copy of the log are what SQLite finds after a crash: everything that was moved from the log into the
database in between is in the log too, and an incomplete frame ends the log (https://www.sqlite.org/wal.html). This
holds as long as the log was not restarted between the two copies, which its header shows:
https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import CheckpointFailed
from pipeline.journal.database import open_reader
from pipeline.journal.files import DATABASE_NAME, LOG_NAME
from pipeline.journal.recovery.replacement import is_under_way
from pipeline.journal.store import Journal

_LOG_HEADER_BYTES = 32
_COPIED_BYTES = 2**20


def read_copy(directory: Path, scratch: Path, database: BinaryIO | None = None) -> Journal | None:
    """Open a copy of the journal for reading, made in the empty directory `scratch`.

    The process that writes to the journal gives its open `database`: SQLite's locks on a file are gone as soon as the
    process closes it anywhere.

    Returns None if the journal changed too much while it was copied: its log was restarted, or its run ended. Then try
    again. Raises CheckpointFailed if it cannot be copied or read.
    """
    if is_under_way(directory):
        return None
    try:
        before = _generation(directory)
        if database is not None:
            database.seek(0)
            with (scratch / DATABASE_NAME).open("wb") as copy:
                shutil.copyfileobj(database, copy, _COPIED_BYTES)
        for name in (DATABASE_NAME, LOG_NAME) if database is None else (LOG_NAME,):
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
    """Return a value that stays the same as long as the log only grows; without a log, as long as the database is
    unchanged.

    Raises OSError.
    """
    facts = (directory / DATABASE_NAME).stat()
    with suppress(FileNotFoundError), (directory / LOG_NAME).open("rb") as log:
        header = log.read(_LOG_HEADER_BYTES)
        if header:
            return facts.st_ino, header
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
