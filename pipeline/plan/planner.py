"""Makes a plan from nothing: every row of the input against every event of the journal, joined on disk.

The work is done in a scratch database beside the journal, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from pipeline.errors import InvalidInput
from pipeline.journal import ADOPTIONS, ANSWERS, IndexEntry
from pipeline.plan.plan import Plan, Standing
from pipeline.plan.rows import Rows

_SCHEMA = """
CREATE TABLE input (position INTEGER PRIMARY KEY, row_id TEXT, request_hash TEXT, content TEXT);
CREATE TABLE answers (seq INTEGER PRIMARY KEY, state INTEGER, row_id TEXT, owner TEXT, request_hash TEXT,
    settings INTEGER, content TEXT);
CREATE TABLE accepted (row_id TEXT, request_hash TEXT, seq INTEGER);
CREATE TABLE adoptions (seq INTEGER PRIMARY KEY, source INTEGER, row_id TEXT);
CREATE TABLE unanswered (row_id TEXT PRIMARY KEY, seq INTEGER, state INTEGER, request_hash TEXT) WITHOUT ROWID;
CREATE TABLE matches (position INTEGER PRIMARY KEY, seq INTEGER, standing INTEGER, is_new INTEGER);
"""
_INDEXES = """
CREATE INDEX input_by_request ON input (request_hash);
CREATE INDEX accepted_by_row ON accepted (row_id, request_hash);
UPDATE answers SET owner = (SELECT a.row_id FROM adoptions a WHERE a.source = answers.seq ORDER BY a.seq DESC LIMIT 1)
    WHERE seq IN (SELECT source FROM adoptions);
CREATE INDEX answers_by_owner ON answers (owner);
"""
# An answer that is told to a row which did not ask for it itself, or to another request, counts as adopted.
_ADOPTED = f"CASE a.state WHEN {Standing.UNPRICED} THEN {Standing.ADOPTED_UNPRICED} ELSE {Standing.ADOPTED} END"
_MATCH = f"""
INSERT INTO matches SELECT i.position, max(a.seq),
        CASE WHEN a.row_id = i.row_id AND a.request_hash = i.request_hash THEN a.state ELSE {_ADOPTED} END, 0
    FROM input i JOIN accepted c ON c.row_id = i.row_id AND c.request_hash = i.request_hash
    JOIN answers a ON a.seq = c.seq AND a.owner = i.row_id GROUP BY i.position;
CREATE INDEX matches_by_event ON matches (seq);
INSERT INTO matches SELECT wanting.position, a.seq, {_ADOPTED}, 1
    FROM (SELECT position, request_hash, row_number() OVER (PARTITION BY request_hash ORDER BY position) AS turn
          FROM input WHERE request_hash IN (SELECT request_hash FROM answers)
          AND position NOT IN (SELECT position FROM matches)) wanting
    JOIN (SELECT seq, state, request_hash, row_number() OVER (PARTITION BY request_hash ORDER BY seq) AS turn
          FROM answers WHERE seq NOT IN (SELECT seq FROM matches)) a
    ON a.request_hash = wanting.request_hash AND a.turn = wanting.turn;
INSERT OR IGNORE INTO matches SELECT i.position, u.seq, u.state, 0
    FROM input i JOIN unanswered u ON u.row_id = i.row_id AND u.request_hash = i.request_hash;
INSERT OR IGNORE INTO matches SELECT i.position, max(a.seq), {Standing.CHANGED}, 0
    FROM input i JOIN answers a ON a.owner = i.row_id
    WHERE a.seq NOT IN (SELECT seq FROM matches) GROUP BY i.position;
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A row that would take over the answer of event `source`: `settings` are those that it was made under."""

    position: int
    row_id: str
    request_hash: str
    content: str
    source: int
    is_priced: bool
    settings: int


class Planner:
    """A plan in the making, with what a person has to decide before it holds.

    Args:
        rows: the input.
        index: every event of the journal, read to its end.
        directory: where the scratch database may stand.
        number: the new plan's number.
        fingerprint: names the input and the settings.

    Raises:
        InvalidInput: duplicate or missing ids, or input that cannot be read.
    """

    def __init__(
        self, rows: Rows, index: Iterable[IndexEntry], directory: Path, *, number: int, fingerprint: str
    ) -> None:
        self._path = directory / "planning.sqlite"
        self._remove()
        self._scratch = sqlite3.connect(self._path, isolation_level=None)
        try:
            self._scratch.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN; {_SCHEMA}")
            has_events = self._load_journal(index)
            count, digest = self._load_input(rows, with_requests=has_events)
            self._scratch.execute("CREATE INDEX input_by_row ON input (row_id)")
            if rows.id_column is not None:
                self._refuse_duplicates(rows)
            repeated, occurrences = self._tell_repeated_apart()
            latest = np.zeros(count, np.uint64)
            self.plan = Plan(
                number=number, fingerprint=fingerprint, digest=digest, latest=latest, repeated=repeated,
                occurrences=occurrences, orphaned=0,
            )  # fmt: skip
            if has_events:
                self._match()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the scratch database."""
        self._scratch.close()
        self._remove()

    def __enter__(self) -> Planner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- what there is to decide

    def answered_rows(self) -> int:
        """How many rows of the input have an answer under their id, whatever it was asked for."""
        return self._number("SELECT count(*) FROM input WHERE row_id IN (SELECT owner FROM answers)")

    def changed_rows(self, settings: int | None) -> tuple[int, int]:
        """How many answered rows now make another request: because the settings changed, and because they did."""
        by_settings = self._number(
            f"SELECT count(*) FROM matches m JOIN answers a ON a.seq = m.seq WHERE m.standing = {Standing.CHANGED}"
            f" AND a.settings IS NOT {'NULL' if settings is None else int(settings)}"
        )
        return by_settings, self.plan.count(Standing.CHANGED) - by_settings

    def carried_changes(self) -> int:
        """How many rows have a sound answer and yet other content than when it was asked: carried columns changed."""
        return self._number(
            "SELECT count(*) FROM matches m JOIN answers a ON a.seq = m.seq JOIN input i ON i.position = m.position"
            f" WHERE m.standing IN ({Standing.ANSWERED}, {Standing.UNPRICED}) AND a.content != i.content"
        )

    def adoptions(self) -> Iterator[Change]:
        """Rows without an answer that take over an orphaned one to the same request."""
        return self._changes("m.is_new = 1")

    def changes(self) -> Iterator[Change]:
        """Answered rows that now make another request."""
        return self._changes(f"m.standing = {Standing.CHANGED}")

    def answers(self) -> int:
        """How many answers the journal holds."""
        return self._number("SELECT count(*) FROM answers")

    # ---- within

    def _changes(self, condition: str) -> Iterator[Change]:
        for position, row_id, request_hash, content, source, state, settings in self._scratch.execute(
            "SELECT i.position, i.row_id, i.request_hash, i.content, a.seq, a.state, a.settings FROM matches m"
            f" JOIN input i ON i.position = m.position JOIN answers a ON a.seq = m.seq WHERE {condition}"
            " ORDER BY i.position"
        ):
            yield Change(position, row_id, request_hash, content, source, state != Standing.UNPRICED, settings)

    def _load_journal(self, index: Iterable[IndexEntry]) -> bool:
        execute_many = self._scratch.executemany
        seen = False
        events = iter(index)
        while chunk := list(itertools.islice(events, 10_000)):
            seen = True
            answers, accepted, adoptions, unanswered = [], [], [], []
            for seq, _, _, state, row_id, request_hash, settings, content, source in chunk:
                if state in ANSWERS:
                    answers.append((seq, state, row_id, row_id, request_hash, settings, content))
                    accepted.append((row_id, request_hash, seq))
                elif state in ADOPTIONS:
                    adoptions.append((seq, source, row_id))
                    accepted.append((row_id, request_hash, source))
                else:
                    unanswered.append((row_id, seq, state, request_hash))
            execute_many("INSERT INTO answers VALUES (?,?,?,?,?,?,?)", answers)
            execute_many("INSERT INTO accepted VALUES (?,?,?)", accepted)
            execute_many("INSERT INTO adoptions VALUES (?,?,?)", adoptions)
            execute_many("INSERT OR REPLACE INTO unanswered VALUES (?,?,?,?)", unanswered)
        return seen

    def _load_input(self, rows: Rows, *, with_requests: bool) -> tuple[int, str]:
        digest, count = hashlib.blake2b(digest_size=16), 0
        for position, batch in rows.batches():
            ids, contents = rows.identities(position, batch)
            hashes = rows.request_hashes(batch, contents) if with_requests else [None] * len(ids)
            # Length first: no two lists of rows give the same bytes.
            digest.update("".join(f"{len(id_)}:{id_}{content}" for id_, content in zip(ids, contents, strict=True)).encode())
            self._scratch.executemany(
                "INSERT INTO input VALUES (?,?,?,?)",
                zip(range(position, position + len(ids)), ids, hashes, contents, strict=True),
            )
            count += len(ids)
        return count, digest.hexdigest()

    def _refuse_duplicates(self, rows: Rows) -> None:
        found = self._scratch.execute(
            "SELECT row_id, min(position), max(position) FROM input GROUP BY row_id HAVING count(*) > 1"
            " ORDER BY min(position) LIMIT 6"
        ).fetchall()
        if found:
            named = [
                f"{id_!r} ({rows.source.place(first)} and {rows.source.place(last)})" for id_, first, last in found[:5]
            ]
            more = ", and more" if len(found) > 5 else ""
            raise InvalidInput(
                f"input.id: the column {rows.id_column!r} must be unique, but these ids stand twice: "
                f"{', '.join(named)}{more}"
            )

    def _tell_repeated_apart(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        self._scratch.executescript(
            "CREATE TABLE repeated AS SELECT position, turn FROM (SELECT position, row_number() OVER (PARTITION BY"
            " row_id ORDER BY position) AS turn FROM input WHERE row_id IN (SELECT row_id FROM input GROUP BY row_id"
            " HAVING count(*) > 1)) WHERE turn > 1 ORDER BY position;"
            "UPDATE input SET row_id = row_id || '#' || (SELECT turn FROM repeated r WHERE r.position = input.position)"
            " WHERE position IN (SELECT position FROM repeated);"
        )
        count = self._number("SELECT count(*) FROM repeated")
        columns = [
            np.fromiter((value for (value,) in self._scratch.execute(f"SELECT {name} FROM repeated")), np.uint32, count)
            for name in ("position", "turn")
        ]
        return columns[0], columns[1]

    def _match(self) -> None:
        self._scratch.executescript(_INDEXES + _MATCH)
        for position, seq, standing in self._scratch.execute("SELECT position, seq, standing FROM matches"):
            self.plan.put(position, seq, standing)
        self.plan.orphaned = self._number(
            "SELECT count(*) FROM answers WHERE seq NOT IN (SELECT seq FROM matches)"
            " AND owner NOT IN (SELECT row_id FROM input)"
        )

    def _number(self, query: str) -> int:
        (number,) = self._scratch.execute(query).fetchone()
        return int(number)

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
