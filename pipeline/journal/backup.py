"""A copy of a journal in one file, and the restoring of a checkpoint from it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.errors import CheckpointFailed
from pipeline.journal.count import Count, read_count
from pipeline.journal.database import open_reader
from pipeline.journal.files import DATABASE_NAME, LOG_NAME, RESTORED_NAME
from pipeline.journal.progress import FILE_NAME as PROGRESS_NAME
from pipeline.journal.snapshot import read_copy
from pipeline.journal.store import Journal
from pipeline.storage import replacing, sync_directory, sync_file


class Copy(Struct, frozen=True):
    """A copy of a journal in one file: of which checkpoint, after how many commits."""

    file: Path
    checkpoint_id: str
    commits: int


class Restored(Struct, frozen=True):
    """What a checkpoint was restored from: where the copy was, when it was made (ISO 8601), after how many commits."""

    path: str
    copied_at: str
    commits: int

    @property
    def note(self) -> str:
        """What a person has to know of it."""
        return (
            f"restored from {self.path}, a copy of {self.copied_at}: answers that came after it are lost, and their"
            " rows are sent again"
        )

    def facts(self) -> dict[str, str]:
        """Return what `status --json` and `estimate --json` tell of it."""
        return {"restored_from": self.path, "copied_at": self.copied_at}


def copy_journal(directory: Path, scratch: Path, database: BinaryIO) -> Copy | None:
    """Copy the journal of a checkpoint whose writer is this process into one file in the empty directory `scratch`.

    Returns None if it changed too much meanwhile; then try again. Raises CheckpointFailed.
    """
    journal = read_copy(directory, scratch, database)
    if journal is None:
        return None
    found = Copy(scratch / DATABASE_NAME, journal.checkpoint_id, journal.totals.commits)
    journal.close()
    try:
        with closing(sqlite3.connect(found.file, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise CheckpointFailed(f"{scratch}: the copy of the journal cannot be completed: {error}") from error
    return found


def read_file(directory: Path) -> Journal:
    """Open a journal that came as one file, for reading. Raises CheckpointFailed."""
    return Journal(directory, open_reader(directory))


def is_missing(directory: Path) -> bool:
    """Return whether there is no checkpoint, or one whose restoring was cut off before its journal was in place."""
    if not Journal.exists(directory):
        return True
    restored = read_restored(directory)
    if restored is None or any((directory / name).exists() for name in (DATABASE_NAME, LOG_NAME, PROGRESS_NAME)):
        return False
    return read_count(directory) in (None, restored.commits)


def restore(file: Path, directory: Path, restored: Restored) -> None:
    """Make a checked copy the journal of a checkpoint that is missing. A kill leaves that missing, or the whole one.

    Raises CheckpointFailed.
    """
    try:
        sync_file(file)
        with replacing(directory / RESTORED_NAME, private=True) as draft:
            draft.write_text(json.dumps(asdict(restored)), "utf-8")
        count = Count(directory, restored.commits)
        count.put(restored.commits)
        count.close()
        os.replace(file, directory / DATABASE_NAME)
        sync_directory(directory)
    except OSError as error:
        raise CheckpointFailed(f"{directory}: cannot be restored: {error.strerror}") from error


def read_restored(directory: Path) -> Restored | None:
    """Return what the checkpoint was restored from; None if it was not."""
    with suppress(OSError, ValueError, TypeError):
        return Restored(**json.loads((directory / RESTORED_NAME).read_text("utf-8")))
    return None
