"""The durable record of claims and outcomes: one commit for a group of rows.

Each commit is a few statements, however many rows it has, because the sqlite3 module waits for the interpreter lock at
each statement and would starve beside busy threads.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from pipeline.errors import CheckpointDamaged, CheckpointFailed
from pipeline.journal import database
from pipeline.journal.changes import Changes
from pipeline.journal.count import FILE_NAME as COUNT_NAME
from pipeline.journal.count import Count, read_count
from pipeline.journal.events import checksum, pack_claim, pack_event
from pipeline.journal.files import DATABASE_NAME, LOG_NAME
from pipeline.journal.guard import Guard
from pipeline.journal.progress import FILE_NAME as PROGRESS_NAME
from pipeline.journal.reader import ORDERS, JournalReader
from pipeline.journal.recovery.replacement import is_under_way
from pipeline.journal.settings import Settings, settings_text
from pipeline.journal.totals import Identity, Seen, Totals
from pipeline.records import JsonObject
from pipeline.storage import stands, sync_directory, sync_file

_ROWS_PER_STATEMENT = 1000
_BYTES_PER_STATEMENT = 4 * 2**20
_LOG_BYTES = 16 * 2**20
_LOG_BYTES_PER_COMMIT = 5 * 8192
"""What a commit of small records adds to the log: the pages at the end of each tree, about."""
_MAX_ORDERS = 1000


class Journal(JournalReader):
    """An open journal, for reading or for the one writer. Make one with `create`, `read` or `write`.

    Every method raises CheckpointFailed if the disk fails or the content cannot be trusted. After a failed commit the
    journal accepts no other one: it is unknown what a failed fsync left on disk, and another try would hide it.
    """

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        super().__init__(directory, connection)
        self._broken = False
        self._count: Count | None = None
        self._log_bytes = 0
        self._places: dict[str, tuple[int, int]] = {}

    # ---- opening

    @staticmethod
    def exists(directory: Path) -> bool:
        """Return whether the directory holds a journal, or a part of one."""
        names = (DATABASE_NAME, LOG_NAME, COUNT_NAME, PROGRESS_NAME)
        return is_under_way(directory) or any(stands(directory / name) for name in names)

    @classmethod
    def create(cls, directory: Path, *, job: str, simulated: bool) -> None:
        """Create an empty journal, completely or not at all. Raises CheckpointFailed, also if there already is one."""
        if cls.exists(directory):
            raise CheckpointFailed(f"{directory}: there is a checkpoint already; it is left as it is")
        identity = Identity(job, simulated, secrets.token_hex(8))
        meta = {"identity": identity.text(), "totals": Totals().text(), "settings": "[]", "runs": "[]"}
        try:
            database.create_database(directory, meta)
        except (OSError, sqlite3.Error) as error:
            raise CheckpointFailed(f"{directory}: cannot make the checkpoint: {error}") from error

    @classmethod
    def read(cls, directory: Path) -> Journal:
        """Open for reading. Nothing in the directory is changed, so a damaged journal stays as it is.

        Raises:
            CheckpointDamaged: it is missing or damaged, or lacks acknowledged commits.
            CheckpointFailed: it cannot be read, or is of a newer version.
        """
        journal = cls(directory, database.open_reader(directory))
        commits = journal.totals.commits
        try:
            acknowledged = read_count(directory)
            if acknowledged is None and commits:
                raise CheckpointDamaged(f"{directory / COUNT_NAME}: missing; without it nothing shows what may be lost")
            if commits < (acknowledged or 0):
                raise CheckpointDamaged(
                    f"{directory}: the journal ends at commit {commits}, but {acknowledged} were acknowledged; part of "
                    "it is lost"
                )
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def write(cls, directory: Path) -> Journal:
        """Open as the one writer. The caller holds the job's lock and has read the whole index before."""
        journal = cls(directory, database.open_writer(directory))
        try:
            with journal._writing():
                journal._places = database.places(directory)
                journal._count = Count(directory, journal.totals.commits)
                # The log may be new as well. SQLite syncs its name too, but ignores an error.
                sync_directory(directory)
        except BaseException:
            journal.close()
            raise
        return journal

    def sync(self) -> None:
        """Sync what an earlier run has written: if it was killed before its sync, that may be in memory only."""
        log = self._directory / LOG_NAME
        with self._writing(), suppress(FileNotFoundError):
            sync_file(log)

    def close(self) -> None:
        """Close the file. Everything that was committed is on disk already."""
        if self._broken:
            database.abandon(self._connection)
        else:
            self._connection.close()
        if self._count is not None:
            self._count.close()
            self._count = None

    # ---- writing

    def commit(self, changes: Changes) -> int:
        """Put changes on disk, where they are durable on return. Returns the number of the first event."""
        first = self.totals.events + 1
        event_rows = [(seq, pack_event(event)) for seq, event in enumerate(changes.events, first)]
        claim_rows = [(claim.number, pack_claim(claim)) for claim in changes.claims]
        with self._transaction(self.totals.after(changes)):
            self._insert("events", event_rows)
            self._release(changes.release)
            self._insert("claims", claim_rows)
        return first

    def register_settings(self, settings_hash: str, description: JsonObject) -> int:
        """Return the number of a set of settings, and record it if it is new."""
        settings = self._settings()
        for number, known in enumerate(settings, 1):
            if known.hash == settings_hash:
                return number
        with self._transaction(self.totals):
            text = settings_text([*settings, Settings(settings_hash, description)])
            database.set_meta(self._connection, "settings", text)
        return len(settings) + 1

    def register_run(self, run_id: str) -> None:
        """Record that a run began."""
        runs = [*self.runs(), run_id]
        with self._transaction(self.totals):
            database.set_meta(self._connection, "runs", json.dumps(runs))

    def note_order(self, text: str) -> None:
        """Record that a run has followed an order."""
        orders = [*self.orders(), text][-_MAX_ORDERS:]
        with self._transaction(self.totals):
            database.set_meta(self._connection, ORDERS, json.dumps(orders))

    def see(self, now: float) -> None:
        """Record that timestamps later than `now` (Unix seconds) were seen: everything in the journal was recorded
        before `now`.
        """
        pause = self.totals.pause
        with self._transaction(replace(self.totals, seen=Seen(now, self.totals.events, pause and pause[0]))):
            pass

    def check_place(self) -> None:
        """Check that the open files still have their names. Raises CheckpointFailed.

        After `rm` or `mv` of the checkpoint, a run would go on paying for answers that no later run finds.
        """
        if not self._places:
            return
        found = database.places(self._directory)
        known, self._places = self._places, found  # the log is created with the first commit
        if any(found.get(name) != place for name, place in known.items()):
            self._broken = True
            raise CheckpointFailed(
                f"{self._directory}: the checkpoint was moved, removed or replaced while a run was writing to it; put"
                " it back and run the job again"
            )

    # ---- within

    @contextmanager
    def _transaction(self, totals: Totals) -> Iterator[None]:
        """Commit what is done within, together with the totals. If that fails, the journal accepts nothing more."""
        if self._broken:
            raise CheckpointFailed(f"{self._directory}: the journal failed before and takes nothing more")
        self.check_place()
        totals = replace(totals, commits=totals.commits + 1)
        self._broken = True
        with self._writing():
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            database.set_meta(self._connection, "totals", totals.text())
            self._connection.execute("COMMIT")
            self.totals = totals
            if self._count is not None:
                self._count.put(totals.commits)
            self._log_bytes += _LOG_BYTES_PER_COMMIT
            if self._log_bytes >= _LOG_BYTES:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self._log_bytes = 0
        self._broken = False

    def _insert(self, table: str, rows: list[tuple[int, bytes]]) -> None:
        start = 0
        while start < len(rows):
            # By powers of two, because a cached statement holds what it inserted last: few sizes, little memory.
            count = 1 << (min(len(rows) - start, _ROWS_PER_STATEMENT).bit_length() - 1)
            while (size := _bytes_of(part := rows[start : start + count])) > _BYTES_PER_STATEMENT and count > 1:
                count //= 2
            values = [value for number, packed in part for value in (number, packed, checksum(number, packed))]
            self._connection.execute(f"INSERT INTO {table} VALUES {','.join(['(?,?,?)'] * count)}", values)
            self._log_bytes += size
            start += count

    def _release(self, numbers: Sequence[int]) -> None:
        released = 0
        for start in range(0, len(numbers), _ROWS_PER_STATEMENT):
            part = numbers[start : start + _ROWS_PER_STATEMENT]
            marks = ",".join("?" * len(part))
            released += self._connection.execute(f"DELETE FROM claims WHERE number IN ({marks})", part).rowcount
        if released != len(numbers):
            raise CheckpointDamaged(f"{self._directory}: {len(numbers) - released} claims of the journal are missing")

    def _writing(self) -> Guard:
        return Guard(CheckpointFailed, f"{self._directory}: the journal cannot be written to")


def _bytes_of(rows: Sequence[tuple[int, bytes]]) -> int:
    return sum([len(packed) for _, packed in rows])
