"""The durable record of claims and outcomes: one SQLite file, one connection, one commit for a group of rows.

Write-ahead logging with `synchronous=FULL` costs one fsync a commit where a rollback journal costs three. One
connection in exclusive mode keeps clear of the WAL-reset defect of SQLite versions up to 3.51.2. Each commit is a
handful of statements whatever the number of rows, because the sqlite3 module queues for the interpreter's lock at each
statement and would starve beside busy threads.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.errors import CheckpointFailed
from pipeline.journal.events import ADOPTIONS, Claim, Event, State, checksum, encode

FORMAT = 1
_APPLICATION_ID = 0x6C6D6270  # "lmbp"
_ROWS_A_STATEMENT = 1000
_WAL_PAGES_BEFORE_CHECKPOINT = 4000

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE settings (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, description TEXT NOT NULL,
    checksum INTEGER NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, plan INTEGER NOT NULL, position INTEGER NOT NULL,
    state INTEGER NOT NULL, row_id TEXT NOT NULL, request_hash TEXT NOT NULL, settings INTEGER NOT NULL,
    content TEXT NOT NULL, record BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE claims (number INTEGER PRIMARY KEY, claim BLOB NOT NULL, checksum INTEGER NOT NULL);
"""

IndexEntry = tuple[int, int, int, int, str, str, int, str, int]
"""seq, plan, position, state, row_id, request_hash, settings, content, and the adopted event's seq (else 0)."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over every event ever recorded. `plan` is the number of the latest plan; `pause` keeps the endpoint's
    Retry-After over a restart: when it was set, and until when (Unix seconds).
    """

    events: int = 0
    cost_usd: Decimal = Decimal(0)
    possibly_billed_usd: Decimal = Decimal(0)
    plan: int = 0
    pause: tuple[float, float] | None = None

    def text(self) -> str:
        """The totals as the journal stores them."""
        return json.dumps(
            [self.events, str(self.cost_usd), str(self.possibly_billed_usd), self.plan, self.pause],
            separators=(",", ":"),
        )

    @classmethod
    def parse(cls, text: str) -> Totals:
        """The totals from their stored form."""
        events, cost, possibly, plan, pause = json.loads(text)
        return cls(events, Decimal(cost), Decimal(possibly), plan, tuple(pause) if pause else None)


class Journal:
    """An open journal, for reading or for the one writer. Make one with `create`, `read` or `write`.

    Every method raises CheckpointFailed where the disk fails or the content cannot be trusted. After a failed commit
    the journal takes no further one: what a failed fsync left on disk is unknown, and trying again would hide it.
    """

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self._directory = directory
        self._connection = connection
        self._broken = False
        self._acknowledged_file: int | None = None
        with self._guarded("read"):
            identity = json.loads(self._meta("identity"))
            self.totals = Totals.parse(self._meta("totals"))
        self.job: str = identity["job"]
        self.simulated: bool = identity["simulated"]
        self.checkpoint_id: str = identity["checkpoint_id"]

    # ---- opening

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether the directory holds a journal, or what is left of one."""
        return (directory / "journal.sqlite").exists() or (directory / "acknowledged").exists()

    @classmethod
    def create(cls, directory: Path, *, job: str, simulated: bool) -> None:
        """Make an empty journal, whole or not at all."""
        path, draft = directory / "journal.sqlite", directory / "journal.sqlite.new"
        try:
            with suppress(FileNotFoundError):
                draft.unlink()
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL, 0o600))
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.executescript(
                    f"PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={FORMAT};"
                    f"PRAGMA synchronous=FULL; BEGIN; {_SCHEMA}"
                )
                identity = {"job": job, "simulated": simulated, "checkpoint_id": secrets.token_hex(8)}
                for name, value in (("identity", json.dumps(identity)), ("totals", Totals().text())):
                    connection.execute("INSERT INTO meta VALUES (?,?,?)", (name, value, checksum((name, value))))
                connection.execute("COMMIT")
            finally:
                connection.close()
            draft.rename(path)
            _sync_directory(directory)
            write_acknowledged(directory, 0)
        except (OSError, sqlite3.Error) as error:
            raise CheckpointFailed(f"{directory}: cannot make the checkpoint: {error}") from error

    @classmethod
    def read(cls, directory: Path) -> Journal:
        """Open for reading: nothing in the directory is changed, so a damaged journal is left as it is.

        Raises:
            CheckpointFailed: it is missing, damaged, of a newer version, or holds fewer events than were acknowledged.
        """
        journal = cls._open(directory, "ro")
        acknowledged = read_acknowledged(directory)
        if journal.totals.events < acknowledged:
            journal.close()
            raise CheckpointFailed(
                f"{directory}: the journal holds {journal.totals.events} events, but {acknowledged} were acknowledged; "
                "part of it is lost"
            )
        return journal

    @classmethod
    def write(cls, directory: Path) -> Journal:
        """Open as the one writer. The caller holds the job's lock and has read the whole index before."""
        journal = cls._open(directory, "rw")
        with journal._guarded("open"):
            journal._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            journal._connection.execute("PRAGMA journal_mode=WAL")
            journal._connection.execute("PRAGMA synchronous=FULL")
            journal._connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES_BEFORE_CHECKPOINT}")
        journal._acknowledged_file = os.open(directory / "acknowledged", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return journal

    @classmethod
    def _open(cls, directory: Path, mode: str) -> Journal:
        path = directory / "journal.sqlite"
        if not path.exists():
            raise CheckpointFailed(f"{path}: the journal is missing, though answers were acknowledged in it")
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
            try:
                (application,) = connection.execute("PRAGMA application_id").fetchone()
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if application != _APPLICATION_ID:
                    raise CheckpointFailed(f"{path}: this is not a journal of this program")
                if version != FORMAT:
                    raise CheckpointFailed(
                        f"{path}: format {version}; this version of the program reads format {FORMAT}: use a newer one"
                    )
                return cls(directory, connection)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, ValueError) as error:
            raise CheckpointFailed(f"{path}: cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file; what was committed is on disk already."""
        self._connection.close()
        if self._acknowledged_file is not None:
            os.close(self._acknowledged_file)
            self._acknowledged_file = None

    # ---- reading

    def index(self) -> Iterator[IndexEntry]:
        """Every event without its record, oldest first, each checked against its checksum, and their number."""
        number = 0
        with self._guarded("read"):
            for *columns, stored in self._connection.execute(
                "SELECT seq,plan,position,state,row_id,request_hash,settings,content,record,checksum"
                " FROM events ORDER BY seq"
            ):
                number += 1
                if columns[0] != number or checksum(columns) != stored:
                    raise CheckpointFailed(
                        f"{self._directory}: event {number} of the journal is damaged or missing; "
                        "`pipeline recover` makes a sound checkpoint of what is whole"
                    )
                yield _entry(columns)
        if number != self.totals.events:
            raise CheckpointFailed(f"{self._directory}: {number} events where {self.totals.events} were recorded")

    def claims(self) -> list[Claim]:
        """The claims that no event has closed: requests that were under way when the program died."""
        with self._guarded("read"):
            found = self._connection.execute("SELECT number,claim,checksum FROM claims ORDER BY number").fetchall()
        for number, claim, stored in found:
            if checksum((number, claim)) != stored:
                raise CheckpointFailed(f"{self._directory}: claim {number} of the journal is damaged")
        return [Claim(number, *json.loads(claim)) for number, claim, _ in found]

    def records(self, sequence: Sequence[int]) -> Iterator[tuple[IndexEntry, dict[str, Any]]]:
        """The events with the given numbers, in ascending order of number, checked, with their records."""
        for start in range(0, len(sequence), _ROWS_A_STATEMENT):
            part = sequence[start : start + _ROWS_A_STATEMENT]
            with self._guarded("read"):
                found = self._connection.execute(
                    "SELECT seq,plan,position,state,row_id,request_hash,settings,content,record,checksum FROM events"
                    f" WHERE seq IN ({','.join('?' * len(part))}) ORDER BY seq",
                    part,
                )
                for *columns, stored in found:
                    if checksum(columns) != stored:
                        raise CheckpointFailed(f"{self._directory}: event {columns[0]} of the journal is damaged")
                    yield _entry(columns), json.loads(columns[-1])

    def record(self, seq: int) -> dict[str, Any]:
        """The record of one event."""
        for _, record in self.records([seq]):
            return record
        raise CheckpointFailed(f"{self._directory}: event {seq} of the journal is missing")

    def settings(self) -> dict[int, dict[str, Any]]:
        """Every set of settings that events were made under, by its number."""
        with self._guarded("read"):
            found = self._connection.execute("SELECT id,hash,description,checksum FROM settings").fetchall()
        for *columns, stored in found:
            if checksum(columns) != stored:
                raise CheckpointFailed(f"{self._directory}: settings {columns[0]} of the journal are damaged")
        return {number: json.loads(description) for number, _, description, _ in found}

    def runs(self) -> list[str]:
        """The ids of all runs so far, oldest first."""
        with self._guarded("read"):
            found: list[str] = json.loads(self._meta("runs", "[]"))
        return found

    # ---- writing

    def commit(
        self,
        events: Sequence[Event] = (),
        *,
        release: Sequence[int] = (),
        claims: Sequence[Claim] = (),
        cost_usd: Decimal = Decimal(0),
        possibly_billed_usd: Decimal = Decimal(0),
        plan: int | None = None,
        pause: tuple[float, float] | None = None,
    ) -> int:
        """Put a group on disk: events, claims closed and claims made. Returns the number of the first event.

        On return everything given is durable. `cost_usd` and `possibly_billed_usd` are added to the totals.
        """
        if self._broken:
            raise CheckpointFailed(f"{self._directory}: the journal failed before and takes nothing more")
        first = self.totals.events + 1
        totals = replace(
            self.totals,
            events=self.totals.events + len(events),
            cost_usd=self.totals.cost_usd + cost_usd,
            possibly_billed_usd=self.totals.possibly_billed_usd + possibly_billed_usd,
            plan=self.totals.plan if plan is None else plan,
            pause=pause or self.totals.pause,
        )
        event_rows = [
            (seq, e.plan, e.position, int(e.state), e.row_id, e.request_hash, e.settings, e.content, encode(e.record))
            for seq, e in enumerate(events, first)
        ]
        claim_rows = [
            (c.number, encode([c.plan, c.position, c.row_id, c.request_hash, c.settings, c.content, c.claimed_at,
                               c.worst_cost, c.worst_tokens, c.history]))
            for c in claims
        ]  # fmt: skip
        try:
            with self._guarded("written to"):
                execute = self._connection.execute
                execute("BEGIN IMMEDIATE")
                self._insert("events", event_rows)
                for start in range(0, len(release), _ROWS_A_STATEMENT):
                    part = release[start : start + _ROWS_A_STATEMENT]
                    execute(f"DELETE FROM claims WHERE number IN ({','.join('?' * len(part))})", part)
                self._insert("claims", claim_rows)
                self._set_meta("totals", totals.text())
                execute("COMMIT")
        except BaseException:
            self._broken = True
            raise
        self.totals = totals
        if events and self._acknowledged_file is not None:
            # Not synced: it may lag behind the journal, never run ahead of it.
            os.pwrite(self._acknowledged_file, _acknowledged_text(totals.events), 0)
        return first

    def register_settings(self, settings_hash: str, description: Mapping[str, Any]) -> int:
        """The number of a set of settings, recorded at first sight."""
        with self._guarded("written to"):
            found = self._connection.execute("SELECT id FROM settings WHERE hash=?", (settings_hash,)).fetchone()
            if found:
                return int(found[0])
            (number,) = self._connection.execute("SELECT coalesce(max(id),0)+1 FROM settings").fetchone()
            row = (number, settings_hash, json.dumps(description, sort_keys=True))
            self._connection.execute("INSERT INTO settings VALUES (?,?,?,?)", (*row, checksum(row)))
            return int(number)

    def register_run(self, run_id: str) -> None:
        """Record that a run began."""
        runs = [*self.runs(), run_id]
        with self._guarded("written to"):
            self._set_meta("runs", json.dumps(runs))

    # ---- within

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), _ROWS_A_STATEMENT):
            part = rows[start : start + _ROWS_A_STATEMENT]
            marks = ",".join([f"({','.join('?' * (len(part[0]) + 1))})"] * len(part))
            values = [value for row in part for value in (*row, checksum(row))]
            self._connection.execute(f"INSERT INTO {table} VALUES {marks}", values)

    def _meta(self, name: str, default: str | None = None) -> str:
        found = self._connection.execute("SELECT value, checksum FROM meta WHERE name=?", (name,)).fetchone()
        if found is None and default is not None:
            return default
        if found is None or checksum((name, found[0])) != found[1]:
            raise CheckpointFailed(f"{self._directory}: the journal's record of its {name} is damaged")
        return str(found[0])

    def _set_meta(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?,?)", (name, value, checksum((name, value))))

    def _guarded(self, doing: str) -> _Guard:
        return _Guard(f"{self._directory}: the journal cannot be {doing}")


class _Guard:
    """Turns SQLite's errors, and nonsense found in its rows, into CheckpointFailed."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError | ValueError | TypeError | KeyError):
            raise CheckpointFailed(f"{self._message}: {error}") from error


def _entry(columns: list[Any]) -> IndexEntry:
    *facts, record = columns
    source = json.loads(record)["source"] if columns[3] in ADOPTIONS else 0
    return (*facts, source)


def lost_claims(claims: Iterable[Claim]) -> tuple[list[Event], list[int], Decimal]:
    """What a kill left open, as events: each request may have been billed. Returns events, claims to close, and the
    worst that they can have cost.
    """
    events, numbers, worst = [], [], Decimal(0)
    for claim in claims:
        attempts = claim.history.get("attempts", 0) + 1
        record = {**claim.history, "attempts": attempts, "error_kind": "cut_off", "possibly_billed": claim.worst_cost,
                  "tokens": claim.worst_tokens, "started_at": claim.claimed_at}  # fmt: skip
        events.append(Event(claim.plan, claim.position, State.ATTEMPTED, claim.row_id, claim.request_hash,
                            claim.settings, claim.content, record))  # fmt: skip
        numbers.append(claim.number)
        worst += Decimal(claim.worst_cost or 0)
    return events, numbers, worst


def read_acknowledged(directory: Path) -> int:
    """How many events were acknowledged, as kept apart from the journal; 0 where that is not known."""
    try:
        text = (directory / "acknowledged").read_bytes()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise CheckpointFailed(f"{directory}: cannot be read: {error.strerror}") from error
    number, _, _ = text.partition(b"\n")
    if text != _acknowledged_text(int(number) if number.isdigit() else -1):
        raise CheckpointFailed(f"{directory / 'acknowledged'}: damaged: it holds no count")
    return int(number)


def write_acknowledged(directory: Path, count: int) -> None:
    """Start the count that is kept apart from the journal."""
    path = directory / "acknowledged"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(file, _acknowledged_text(count))
    os.fsync(file)
    os.close(file)


def _acknowledged_text(count: int) -> bytes:
    return b"%020d\n" % count


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

