"""The journal's SQLite file: how it is created, and how it is opened for reading and for writing.

Write-ahead logging with `synchronous=FULL` costs one fsync per commit; a rollback journal costs three. One connection
in exclusive mode avoids the WAL-reset defect of SQLite versions up to 3.51.2, and needs no memory shared between
processes. Pages of 8 KiB read a quarter faster than those of 4.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from pipeline.errors import CheckpointDamaged, CheckpointFailed
from pipeline.journal.events import checksum
from pipeline.journal.files import DATABASE_NAME, LOG_NAME
from pipeline.journal.recovery.replacement import is_under_way
from pipeline.storage import replacing

FORMAT = 1
PAGE_BYTES = 8192
_APPLICATION_ID = 0x6C6D6270  # "lmbp"
# https://www.sqlite.org/fileformat2.html#the_database_header
_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_LOG_FLAGS = slice(18, 20)
_FORMAT_NUMBER = slice(60, 64)
_APPLICATION_NUMBER = slice(68, 72)
_WITH_LOG = b"\x02\x02"

_SCHEMA = f"""
PRAGMA page_size={PAGE_BYTES};
PRAGMA application_id={_APPLICATION_ID};
PRAGMA user_version={FORMAT};
PRAGMA journal_mode=MEMORY;
PRAGMA synchronous=FULL;
BEGIN;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY, event BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE claims (number INTEGER PRIMARY KEY, claim BLOB NOT NULL, checksum INTEGER NOT NULL);
"""


def create_database(
    directory: Path,
    meta: Mapping[str, str],
    events: Iterable[tuple[int, bytes]] = (),
    claims: Iterable[tuple[int, bytes]] = (),
) -> None:
    """Create a database with packed events and claims, each under its number. It is created completely or not at all.

    Raises OSError, sqlite3.Error.
    """
    with (
        replacing(directory / DATABASE_NAME, private=True) as draft,
        closing(sqlite3.connect(draft, isolation_level=None)) as connection,
    ):
        connection.executescript(_SCHEMA)
        for name, value in meta.items():
            set_meta(connection, name, value)
        for table, rows in (("events", events), ("claims", claims)):
            checked = ((number, packed, checksum(number, packed)) for number, packed in rows)
            connection.executemany(f"INSERT INTO {table} VALUES (?,?,?)", checked)
        connection.execute("COMMIT")
        # The mode is stored in the file's header, so that opening the file to write does not change the header.
        _expect(connection, "journal_mode=WAL", "wal")


def open_reader(directory: Path) -> sqlite3.Connection:
    """Open for reading, without changing a file. If there is a log, SQLite adds a file of its own (`-shm`).

    Raises:
        CheckpointDamaged: it is missing, not a journal, or half replaced by a recovery.
        CheckpointFailed: it cannot be read, or is of a newer version.
    """
    path, log = directory / DATABASE_NAME, directory / LOG_NAME
    if is_under_way(directory):
        raise CheckpointDamaged(f"{directory}: a recovery of the checkpoint was cut off")
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            # It must not be opened at all: SQLite would consider the log a remnant, and remove it.
            raise CheckpointDamaged(f"{path}: the journal is empty or cut off")
        # Without a log, SQLite needs neither shared memory nor a recovery.
        mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    except FileNotFoundError:
        raise CheckpointDamaged(f"{path}: the journal is missing, though answers were acknowledged in it") from None
    except OSError as error:
        raise CheckpointFailed(f"{path}: cannot be read: {error.strerror}") from error
    connection = _connect(path, mode)
    try:
        _check_version(path, connection)
        if header[_LOG_FLAGS] != _WITH_LOG:
            raise CheckpointDamaged(f"{path}: damaged: it was made with a write-ahead log, and does not say so")
    except BaseException:
        connection.close()
        raise
    return connection


def open_writer(directory: Path) -> sqlite3.Connection:
    """Open as the one writer, after a check of the file's structure that changes nothing.

    Raises:
        CheckpointDamaged: it cannot be trusted.
        CheckpointFailed: it cannot be written to.
    """
    path = directory / DATABASE_NAME
    check_structure(directory)
    connection = _connect(path, "mode=rw")
    try:
        # This comes before anything is read: otherwise SQLite starts with shared memory, and keeps it.
        _expect(connection, "locking_mode=EXCLUSIVE", "exclusive")
        _expect(connection, "journal_mode=WAL", "wal")
        connection.execute("PRAGMA synchronous=FULL")
        # The writer moves the log into the database itself: SQLite would ignore an error of that.
        connection.execute("PRAGMA wal_autocheckpoint=0")
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise CheckpointFailed(f"{path}: cannot be written to: {error}") from error
        raise
    return connection


def places(directory: Path) -> dict[str, tuple[int, int]]:
    """Return the device and inode number of the database and of its log, for each that exists."""
    found = {}
    for name in (DATABASE_NAME, LOG_NAME):
        with suppress(OSError):
            stat = (directory / name).stat()
            found[name] = (stat.st_dev, stat.st_ino)
    return found


def abandon(connection: sqlite3.Connection) -> None:
    """Close after a failure, and leave the files as they are.

    A normal close makes SQLite sync the log again and move it into the database. After a failed sync, a second one may
    succeed although data of the first one is lost.
    """
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous=OFF")
    connection.interrupt()  # nothing executes now: this interrupts what the close would start
    connection.close()


def check_structure(directory: Path) -> None:
    """Check the tree that holds the records, and the list of free pages. Nothing is changed.

    The checksums of the records do not show damage there, and the next write would destroy intact records. Raises
    CheckpointDamaged.
    """
    path = directory / DATABASE_NAME
    reader = open_reader(directory)
    try:
        (found,) = reader.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise CheckpointDamaged(f"{path}: damaged: {found}")
    except (sqlite3.Error, ValueError) as error:
        raise CheckpointDamaged(f"{path}: damaged: {error}") from error
    finally:
        reader.close()


def refuse_newer(directory: Path) -> None:
    """Refuse a journal that a newer version of the program created, by its file's header, without opening it.

    Raises CheckpointFailed.
    """
    path = directory / DATABASE_NAME
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return
    version = int.from_bytes(header[_FORMAT_NUMBER], "big")
    is_ours = header.startswith(_MAGIC) and header[_APPLICATION_NUMBER] == _APPLICATION_ID.to_bytes(4, "big")
    if is_ours and version > FORMAT:
        raise _made_by_newer(path, version)


def set_meta(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Set one of the named values. Raises sqlite3.Error."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?,?)", (name, value, meta_checksum(name, value)))


def get_meta(connection: sqlite3.Connection, name: str) -> str:
    """Return one of the named values, checked. Raises sqlite3.Error, and ValueError if it is missing or damaged."""
    found = connection.execute("SELECT value, checksum FROM meta WHERE name=?", (name,)).fetchone()
    if found is None or meta_checksum(name, found[0]) != found[1]:
        raise ValueError(f"its record of {name} is damaged")
    return str(found[0])


def find_meta(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a named value that not every journal has; None if it is missing. Raises as `get_meta` does."""
    if connection.execute("SELECT 1 FROM meta WHERE name=?", (name,)).fetchone() is None:
        return None
    return get_meta(connection, name)


def meta_checksum(name: str, value: str) -> int:
    """Return the checksum that is stored with one of the named values."""
    return checksum(0, f"{name}={value}".encode())


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise CheckpointFailed(f"{path}: cannot be opened: {error}") from error


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise CheckpointDamaged(f"{path}: cannot be read: {error}") from error
    if application != _APPLICATION_ID:
        raise CheckpointDamaged(f"{path}: this is not a journal of this program")
    if version > FORMAT:
        raise _made_by_newer(path, version)
    if version != FORMAT:
        raise CheckpointDamaged(f"{path}: damaged: format {version} is unknown")


def _made_by_newer(path: Path, version: int) -> CheckpointFailed:
    return CheckpointFailed(
        f"{path}: made by a newer version of the program, in format {version}; this one reads format {FORMAT}: "
        "use the newer one"
    )


def _expect(connection: sqlite3.Connection, setting: str, wanted: str) -> None:
    (found,) = connection.execute(f"PRAGMA {setting}").fetchone()
    if found != wanted:
        raise sqlite3.OperationalError(f"{setting} is not to be had here: it stays {found}")
