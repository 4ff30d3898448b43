"""The reading of the journal: every record is checked against its checksum, and their number against the totals."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from msgspec.json import decode as from_json

from pipeline.errors import CheckpointDamaged
from pipeline.journal import database
from pipeline.journal.events import (
    ANSWERS,
    Claim,
    EventHead,
    checksum,
    unpack_claim,
    unpack_head,
)
from pipeline.journal.guard import Guard
from pipeline.journal.outcome import Outcome, decode
from pipeline.journal.settings import Settings, parse_settings
from pipeline.journal.totals import Identity, Totals
from pipeline.records import JsonObject

if TYPE_CHECKING:
    from pipeline.journal.places import EventPlaces
    from pipeline.journal.texts import EventTexts

_ROWS_PER_STATEMENT = 1000
_MOST_SPARSE = 1.25
"""Of events that are so close together, all that lie between are read: it is quicker than to look each one up."""
_EVENTS = "SELECT seq, event, checksum FROM events WHERE seq {} ORDER BY seq"
_EVENTS_AT_ONCE = 2048
_BYTES_AT_ONCE = 2**21

ORDERS = "controls"
"""Of eight letters, as every name in `meta` has four, six or eight (see `journal.recovery.carving`)."""


class JournalReader:
    """The content of a journal, read over an open connection. The connection is closed if it cannot be read.

    Every method raises CheckpointDamaged if the content cannot be trusted.
    """

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self._directory = directory
        self._connection = connection
        try:
            with self._reading():
                self.identity = Identity.parse(database.get_meta(connection, "identity"))
                self.totals = Totals.parse(database.get_meta(connection, "totals"))
        except BaseException:
            connection.close()
            raise
        self.job = self.identity.job
        self.simulated = self.identity.simulated
        self.checkpoint_id = self.identity.checkpoint_id

    def index(self) -> Iterator[EventHead]:
        """Yield every event without its record, oldest first. Checksums and the number of events are checked."""
        for first, packed in self._parts():
            with self._reading():
                heads = [unpack_head(seq, one) for seq, one in enumerate(packed, first)]
            yield from heads

    def places(self) -> Iterator[EventPlaces]:
        """Yield the part of each event that a plan of known rows needs, many at once. They are checked as in `index`,
        and quicker to read.
        """
        from pipeline.journal.places import places_of  # numpy takes a while to import, and `status` does without

        for first, packed in self._parts():
            with self._reading():
                places = places_of(first, packed)
            yield places

    def _parts(self) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Yield all events, checked: the number of the first of some, and what is stored of each."""
        with self._reading():
            cursor = self._connection.execute("SELECT seq, event, checksum FROM events ORDER BY seq")
        first = 1
        while rows := self._next_rows(cursor):
            with self._reading():
                numbers, packed, stored = zip(*rows, strict=True)
                sound = tuple(map(crc32, packed, numbers)) == stored  # as `checksum`
            if not sound or numbers != tuple(range(first, first + len(rows))):
                raise CheckpointDamaged(
                    f"{self._directory}: event {_first_damaged(first, rows)} of the journal is damaged or missing"
                )
            yield first, packed
            first += len(rows)
        if first - 1 != self.totals.events:
            raise CheckpointDamaged(f"{self._directory}: {first - 1} events where {self.totals.events} were recorded")

    def _next_rows(self, cursor: sqlite3.Cursor) -> list[tuple[int, bytes, int]]:
        rows: list[tuple[int, bytes, int]] = []
        left = _BYTES_AT_ONCE
        with self._reading():
            for row in cursor:
                rows.append(row)
                left -= len(row[1])
                if left < 0 or len(rows) == _EVENTS_AT_ONCE:
                    break
        return rows

    def lines_out(self) -> list[Claim]:
        """Return the claims of requests that wait in a provider's batches."""
        return [claim for claim in self.claims() if claim.batch] if self.totals.batches else []

    def claims(self) -> list[Claim]:
        """Return the claims that no event has closed: the requests that were in flight when the program died."""
        claims = []
        with self._reading():
            for number, packed, stored in self._connection.execute(
                "SELECT number, claim, checksum FROM claims ORDER BY number"
            ):
                if checksum(number, packed) != stored:
                    raise CheckpointDamaged(f"{self._directory}: claim {number} of the journal is damaged")
                claims.append(unpack_claim(number, packed))
        if len(claims) != self.totals.claims:
            raise CheckpointDamaged(
                f"{self._directory}: {len(claims)} open claims where {self.totals.claims} were made"
            )
        return claims

    def records(self, sequence: Sequence[int]) -> Iterator[tuple[EventHead, Outcome]]:
        """Yield the events with the given numbers, with their records: each once, checked, in ascending order."""
        return ((head, decode(from_json(text))) for head, text in self.texts(sequence))

    def heads(self, sequence: Sequence[int]) -> Iterator[EventHead]:
        """Yield the same without their records."""
        return (head for head, _ in self.texts(sequence))

    def texts(self, sequence: Sequence[int]) -> Iterator[tuple[EventHead, bytes]]:
        """Yield the same with each record as the JSON text that is stored."""
        for start in range(0, len(sequence), _ROWS_PER_STATEMENT):
            part = sorted(set(sequence[start : start + _ROWS_PER_STATEMENT]))
            for found in self._split(part):
                for seq, head, record in zip(*found, strict=True):
                    yield EventHead(seq, *from_json(head)), record

    def texts_together(self, numbers: Sequence[int], most_bytes: int) -> EventTexts | None:
        """Return the events with these ascending numbers all at once, checked; None if there are several and their
        records take more than so many bytes. With thousands of events it is twice as fast as `texts`.
        """
        heads: list[bytes] = []
        records: list[bytes] = []
        for _, some_heads, some_records in self._split(numbers):
            heads += some_heads
            records += some_records
            most_bytes -= sum(map(len, some_records))
            if most_bytes < 0 and len(numbers) > 1:
                return None
        from pipeline.journal.texts import texts_of  # as `places_of`

        with self._reading():
            return texts_of(heads, records)

    def _split(self, numbers: Sequence[int]) -> Iterator[tuple[Sequence[int], Sequence[bytes], Sequence[bytes]]]:
        """Yield the events with these ascending numbers, checked, some at a time: their numbers, and their heads and
        records as stored.
        """
        spread = numbers[-1] - numbers[0] + 1
        is_dense = spread <= len(numbers) * _MOST_SPARSE
        where = "BETWEEN ? AND ?" if is_dense else f"IN ({','.join('?' * len(numbers))})"
        given = (numbers[0], numbers[-1]) if is_dense else numbers
        wanted = set(numbers) if is_dense and spread > len(numbers) else None
        read = 0
        with self._reading():
            cursor = self._connection.execute(_EVENTS.format(where), given)
        while rows := self._next_rows(cursor):
            if wanted is not None:
                rows = [row for row in rows if row[0] in wanted]
            if not rows:
                continue
            expected = tuple(numbers[read : read + len(rows)])
            with self._reading():
                seqs, packed, stored = zip(*rows, strict=True)
                if seqs != expected or tuple(map(crc32, packed, seqs)) != stored:
                    raise self._unsound(expected, rows)
                heads, _, records = zip(*(one.partition(b"\n") for one in packed), strict=True)
            yield seqs, heads, records
            read += len(rows)
        if read < len(numbers):
            raise self._unsound(numbers[read:], ())

    def _unsound(self, numbers: Sequence[int], rows: Sequence[tuple[int, bytes, int]]) -> CheckpointDamaged:
        """Return the error of the first event that was not read as it was written, of those with these numbers."""
        read = {seq: checksum(seq, packed) == stored for seq, packed, stored in rows}
        number = next(number for number in numbers if not read.get(number))
        what = "damaged" if number in read else "missing"
        return CheckpointDamaged(f"{self._directory}: event {number} of the journal is {what}")

    def record(self, seq: int) -> Outcome:
        """Return the record of one event."""
        ((_, record),) = self.records([seq])
        return record

    def settings(self) -> dict[int, JsonObject]:
        """Return every set of settings that events were made under, by its number."""
        return {number: known.description for number, known in enumerate(self._settings(), 1)}

    def models(self) -> dict[int, str]:
        """Return the model of every set of settings, by its number."""
        return {number: str(description["model"]) for number, description in self.settings().items()}

    def runs(self) -> list[str]:
        """Return the ids of all runs so far, oldest first."""
        with self._reading():
            found: list[str] = json.loads(database.get_meta(self._connection, "runs"))
        return found

    def verify(self) -> int:
        """Check everything that the journal holds, and the structure of its file. Returns the number of answers."""
        database.check_structure(self._directory)
        self.claims()
        self.settings()
        self.runs()
        return sum(head.state in ANSWERS for head in self.index())

    def orders(self) -> list[str]:
        """Return the latest orders that runs of the job have followed, oldest first."""
        with self._reading():
            text = database.find_meta(self._connection, ORDERS)
        return [] if text is None else [str(one) for one in json.loads(text)]

    def _settings(self) -> list[Settings]:
        with self._reading():
            return parse_settings(database.get_meta(self._connection, "settings"))

    def _reading(self) -> Guard:
        return Guard(CheckpointDamaged, f"{self._directory}: the journal cannot be read")


def _first_damaged(first: int, rows: Sequence[tuple[int, bytes, int]]) -> int:
    return next(
        number
        for number, (seq, packed, stored) in enumerate(rows, first)
        if seq != number or checksum(seq, packed) != stored
    )
