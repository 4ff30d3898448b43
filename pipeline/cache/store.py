"""The file of a cache: an SQLite database with an answer in each row.

Several runs write to it at once, in short transactions. It has a rollback journal and not a write-ahead log, because
with several connections the log would need a version of SQLite without the WAL-reset defect.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from pipeline.errors import CheckpointFailed
from pipeline.journal.outcome import Outcome, decode, encode

FROM_CACHE = "cache"
"""The `shared_from` of a row whose answer comes from a cache."""

_APPLICATION = 0x4C4C4D43  # "LLMC"
_HEADER_BYTES = 100
_APPLICATION_AT = 68
"""Where an SQLite file has its application id (https://www.sqlite.org/fileformat.html#the_database_header)."""
_MAGIC = b"SQLite format 3\0"
_OPEN_SECONDS = 10.0
_SECONDS_BETWEEN_WRITINGS = 0.25
_WAITING_AT_ONCE = 1000
_MAX_WAITING = 20_000
_SECONDS_PER_DAY = 86_400
_CHECKSUM_BYTES = 16
_TABLE = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT, number INTEGER, stored_at REAL, record BLOB, checksum BLOB,"
    " PRIMARY KEY (key, number)) WITHOUT ROWID"
)
# What has expired gives way; else the first answer stays.
_PUT = (
    "INSERT INTO answers VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET stored_at = excluded.stored_at,"
    " record = excluded.record, checksum = excluded.checksum WHERE answers.stored_at < ?"
)
_ANSWER = (
    "response",
    "response_type",
    "tool_calls",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cost",
    "truncated",
    "finish_reason",
    "reasoning",
    "cached_tokens",
    "reasoning_tokens",
    "http_status",
    "served_model",
    "usage",
    "raw_reply",
)
"""What is kept of an outcome: what the endpoint said, and what it cost."""


class Bought(Struct, frozen=True):
    """An answer that was bought: the key of its request, which of the answers to that it is, and its outcome."""

    key: str
    number: int
    record: Outcome


def is_cache(path: Path) -> bool:
    """Return whether the file at a path is a cache of this program, by its head. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    application = int.from_bytes(head[_APPLICATION_AT : _APPLICATION_AT + 4], "big")
    return head.startswith(_MAGIC) and application == _APPLICATION


class Cache:
    """An open cache. Once it fails it is left alone, `warn` is told why, and every answer is bought.

    Args:
        path: the file, made with its directories where it is not there.
        ttl_days: answers that are older are bought again; None for no such limit.
        clock: gives Unix seconds.
        wait_seconds: how long to wait for another run that holds the file.
        read_only: nothing is kept in it; then the file has to be there.

    Raises CheckpointFailed where it cannot be read and written.
    """

    def __init__(
        self,
        path: Path,
        ttl_days: float | None,
        warn: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.time,
        wait_seconds: float = 1.0,
        read_only: bool = False,
    ) -> None:
        self._path = path
        self._ttl_seconds = None if ttl_days is None else ttl_days * _SECONDS_PER_DAY
        self._warn = warn
        self._clock = clock
        self._waiting: dict[tuple[str, int], Outcome] = {}
        self._written_at = -math.inf
        self._connection: sqlite3.Connection | None = None
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _opened(path, wait_seconds, read_only=read_only)
        except (OSError, sqlite3.Error) as error:
            raise CheckpointFailed(f"cache.path: {path} cannot be used as a cache: {error}") from error

    def find(self, key: str, number: int) -> Outcome | None:
        """Return the outcome of a row that takes an answer; None where there is none that may still be used."""
        if self._connection is None:
            return None
        try:
            found = self._connection.execute(
                "SELECT record, checksum FROM answers WHERE key = ? AND number = ? AND stored_at >= ?",
                (key, number, self._oldest()),
            ).fetchone()
            kept = self._waiting.get((key, number)) if found is None else _read(key, number, *found)
            return None if kept is None else _taken(kept)
        except (sqlite3.Error, ValueError, ArithmeticError, TypeError) as error:
            if not _is_busy(error):
                self._fail(error)
            return None

    def put(self, bought: Bought) -> None:
        """Keep an answer that was bought. This run finds it from now on, others once it is written."""
        if self._connection is not None:
            kept = Outcome(**{name: getattr(bought.record, name) for name in _ANSWER})
            self._waiting.setdefault((bought.key, bought.number), kept)

    def write(self) -> None:
        """Write what was put. Answers wait for each other for a moment, since each writing takes a sync, and for the
        next call while other runs hold the file for long.
        """
        waited = self._clock() - self._written_at
        if len(self._waiting) >= _WAITING_AT_ONCE or not 0 <= waited < _SECONDS_BETWEEN_WRITINGS:
            self._write()

    def _write(self) -> None:
        if self._connection is None or not self._waiting:
            return
        self._written_at = self._clock()
        now, oldest = self._clock(), self._oldest()
        rows = []
        for (key, number), kept in self._waiting.items():
            record = _encoded(kept)
            rows.append((key, number, now, record, _checksum(key, number, record), oldest))
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(_PUT, rows)
        except sqlite3.Error as error:
            if not _is_busy(error) or len(self._waiting) >= _MAX_WAITING:
                self._fail(error)
            return
        self._waiting = {}

    def close(self) -> None:
        """Keep what is waiting, and let go of the file."""
        self._write()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _oldest(self) -> float:
        return 0.0 if self._ttl_seconds is None else self._clock() - self._ttl_seconds

    def _fail(self, error: Exception) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
            self._waiting = {}
            self._warn(f"cache.path: {self._path} failed, and is left alone from now on: {error}")


def _is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _opened(path: Path, wait_seconds: float, *, read_only: bool) -> sqlite3.Connection:
    if path.exists() and path.stat().st_size and not is_cache(path):
        raise sqlite3.DatabaseError("it is no cache of this program")
    address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(address, timeout=_OPEN_SECONDS, isolation_level=None, uri=True)
    try:
        if not read_only:
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute("COMMIT")
        connection.execute("SELECT key, number, stored_at, record, checksum FROM answers LIMIT 1").fetchone()
        connection.execute(f"PRAGMA busy_timeout={round(wait_seconds * 1000)}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _encoded(kept: Outcome) -> bytes:
    return json.dumps(encode(kept), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _checksum(key: str, number: int, record: bytes) -> bytes:
    return hashlib.blake2b(f"{key} {number} ".encode() + record, digest_size=_CHECKSUM_BYTES).digest()


def _read(key: str, number: int, record: bytes, checksum: bytes) -> Outcome:
    """Return what is kept of an answer. Raises ValueError where it is damaged."""
    if not isinstance(record, bytes) or checksum != _checksum(key, number, record):
        raise ValueError("an answer in it is damaged")
    return decode(json.loads(record))


def _taken(kept: Outcome) -> Outcome:
    """Return an answer as the outcome of a row that takes it."""
    return kept._replace(cost=Decimal(0), saved_usd=kept.cost, attempts=0, shared_from=FROM_CACHE)
