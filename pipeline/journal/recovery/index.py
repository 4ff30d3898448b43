"""The index of the intact records of a damaged checkpoint, in a scratch database: events in order, and open claims."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from pipeline.journal.events import ANSWERS, FAILURES, Claim, Event, State, pack_claim, unpack_claim, with_source
from pipeline.journal.outcome import Outcome
from pipeline.journal.recovery.carving import Place

_SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;
CREATE TABLE events (seq INTEGER, ordinal INTEGER, file INTEGER, at INTEGER, packed BLOB, plan INTEGER, state INTEGER,
    row_id TEXT, request_hash TEXT, settings INTEGER, source INTEGER, attempts INTEGER, started INTEGER, cost_usd TEXT,
    billed_usd TEXT, possibly_billed TEXT, in_doubt INTEGER, PRIMARY KEY (seq, ordinal)) WITHOUT ROWID;
CREATE INDEX events_by_row ON events (row_id, request_hash);
CREATE INDEX events_by_request ON events (request_hash, started);
CREATE TABLE claims (row_id TEXT, request_hash TEXT, attempts INTEGER, plan INTEGER, settings INTEGER, claimed INTEGER,
    packed BLOB, PRIMARY KEY (row_id, request_hash, attempts)) WITHOUT ROWID;
"""
"""An event that was found has its number as `seq`, ordinal 0, and its place. One that was restored has the number of
the event that it follows, an ordinal from 1 on, and its bytes. Timestamps are in microseconds."""

# An adoption whose answer is lost gets no number.
_NUMBER = """
CREATE TABLE numbers AS SELECT seq, ordinal, row_number() OVER (ORDER BY seq, ordinal) AS number FROM events e
    WHERE source = 0 OR EXISTS (SELECT 1 FROM events s WHERE s.seq = e.source AND s.ordinal = 0);
CREATE INDEX numbers_by_event ON numbers (seq, ordinal);
"""
_IN_ORDER = """
SELECT n.number, e.file, e.at, e.packed, s.number
    FROM numbers n CROSS JOIN events e ON e.seq = n.seq AND e.ordinal = n.ordinal
    LEFT JOIN numbers s ON s.seq = e.source AND s.ordinal = 0 AND e.source > 0 ORDER BY n.number
"""
# An event counts how often its row was asked. A later event that counts more than the claim has closed it.
_OPEN_CLAIMS = """
SELECT packed FROM claims c WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.row_id = c.row_id
    AND e.request_hash = c.request_hash AND e.attempts > c.attempts AND e.started >= c.claimed) ORDER BY claimed
"""
# Each attempt has an event; one that ended as a passing failure has a second one, of the failure.
_COVERED = f"""
SELECT sum(most - seen) FROM (SELECT max(attempts) AS most,
    count(DISTINCT CASE WHEN attempts > 0 AND state != {State.FAILED_PASSING:d} THEN attempts END) AS seen
    FROM events GROUP BY row_id, request_hash)
"""


class SalvageIndex:
    """Events and claims in a scratch database at `path`. This and every method raises sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._scratch = sqlite3.connect(path, isolation_level=None)
        self._scratch.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._scratch.close()

    # ---- adding records

    def add_event(self, seq: int, ordinal: int, place: Place | None, packed: bytes | None, event: Event) -> None:
        """Add an event, unless it is there: one that was found by its `place`, a restored one as it is packed."""
        record = event.record
        self._scratch.execute(
            f"INSERT OR IGNORE INTO events VALUES ({','.join('?' * 17)})",
            (
                seq,
                ordinal,
                *(place or (None, None)),
                packed,
                event.plan,
                int(event.state),
                event.row_id,
                event.request_hash,
                event.settings_id,
                record.source,
                record.attempts,
                _started(record),
                _text(record.cost_usd),
                _text(record.billed_usd),
                _text(record.possibly_billed),
                int(record.in_doubt),
            ),
        )

    def add_claim(self, claim: Claim) -> None:
        """Add a claim, unless a later one of the same attempt is there."""
        self._scratch.execute(
            "INSERT INTO claims VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET plan = excluded.plan,"
            " settings = excluded.settings, claimed = excluded.claimed, packed = excluded.packed"
            " WHERE excluded.claimed > claimed",
            (
                claim.row_id,
                claim.request_hash,
                claim.history.attempts,
                claim.plan,
                claim.settings_id,
                _microseconds(claim.claimed_at),
                pack_claim(claim),
            ),
        )

    def replace_claims(self, claims: list[Claim]) -> None:
        """Replace all claims that were found."""
        self._scratch.execute("DELETE FROM claims")
        for claim in claims:
            self.add_claim(claim)

    def settings_of(self, event: Event) -> int | None:
        """Return the number of the settings of an event that records the same outcome of the row; None if there is
        none.
        """
        states = ANSWERS if event.state in ANSWERS else (*ANSWERS, *FAILURES)
        # By its timestamp too: it may be the answer of another row, reused.
        known = self._scratch.execute(
            f"SELECT settings FROM events WHERE state IN ({','.join(str(int(state)) for state in states)})"
            " AND (row_id = ? AND request_hash = ? OR request_hash = ? AND started = ?) LIMIT 1",
            (event.row_id, event.request_hash, event.request_hash, _started(event.record)),
        ).fetchone()
        return None if known is None else int(known[0])

    def cost_before(self, event: Event) -> Decimal:
        """Return the cost of the row's request so far by its latest event, in USD."""
        _, cost = self._scratch.execute(
            "SELECT max(attempts), cost_usd FROM events WHERE row_id = ? AND request_hash = ?",
            (event.row_id, event.request_hash),
        ).fetchone()
        return Decimal(cost or 0)

    # ---- reading them in order

    def last(self) -> int:
        """Return the highest number of an event."""
        return self._number("SELECT max(seq) FROM events")

    def last_settings(self) -> int:
        """Return the highest number of settings."""
        return self._max("settings")

    def renumber(self) -> int:
        """Renumber the events from 1 in their order, once all are added. Returns how many of those that were found are
        kept.

        An adoption whose answer is lost is left out.
        """
        self._scratch.executescript(_NUMBER)
        return self._number("SELECT count(*) FROM numbers WHERE ordinal = 0")

    def events(self, packed_at: Callable[[Place], bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield every event with its new number, packed, after `renumber`. `packed_at` reads the event at a place."""
        for number, file, at, packed, source in self._scratch.execute(_IN_ORDER):
            found = packed_at(Place(file, at)) if packed is None else packed
            yield number, found if source is None else with_source(found, source)

    def covered(self) -> int:
        """Return how many attempts have no event of their own, but are counted by a later event of their row."""
        return self._number(_COVERED)

    def answers(self) -> int:
        """Return how many of all events are answers."""
        return self._number(f"SELECT count(*) FROM events WHERE state IN {tuple(int(state) for state in ANSWERS)}")

    def open_claims(self) -> list[tuple[int, bytes]]:
        """Return the claims that no event has closed, packed, with new numbers, after `renumber`."""
        found = [
            unpack_claim(number, packed)
            for number, (packed,) in enumerate(self._scratch.execute(_OPEN_CLAIMS).fetchall(), 1)
        ]
        return [(claim.number, pack_claim(replace(claim, history=self._with_source(claim.history)))) for claim in found]

    def _with_source(self, history: Outcome) -> Outcome:
        """Return a claim's history with the new number of the answer that its row keeps, or without an answer that is
        lost.
        """
        if history.kept_as is None:
            return history
        found = "SELECT number FROM numbers WHERE seq = ? AND ordinal = 0"
        if (number := self._scratch.execute(found, (history.source,)).fetchone()) is None:
            return history._replace(source=0, kept_as=None, stood_for=())
        return history._replace(source=number[0])

    def last_plan(self) -> int:
        """Return the highest number of a plan."""
        return self._max("plan")

    def billed(self, column: Literal["billed_usd", "possibly_billed"], since: int | None = None) -> Decimal:
        """Return the sum over all events in USD, or over those found with a higher number than `since`."""
        condition = "" if since is None else f"AND ordinal = 0 AND seq > {since}"
        found = self._scratch.execute(f"SELECT {column} FROM events WHERE {column} IS NOT NULL {condition}")
        return sum((Decimal(amount) for (amount,) in found), Decimal(0))

    def in_doubt(self, since: int | None = None) -> int:
        """Return how many requests of all events, or of those found after `since`, may have been billed."""
        condition = "" if since is None else f"AND ordinal = 0 AND seq > {since}"
        return self._number(f"SELECT count(*) FROM events WHERE in_doubt {condition}")

    def _max(self, column: str) -> int:
        return max(self._number(f"SELECT max({column}) FROM {table}") for table in ("events", "claims"))

    def _number(self, query: str) -> int:
        (number,) = self._scratch.execute(query).fetchone()
        return int(number or 0)


def _started(record: Outcome) -> int | None:
    return None if record.started_at is None else _microseconds(record.started_at)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _microseconds(stamp: float) -> int:
    return round(stamp * 1_000_000)
