"""The join of input and journal in SQL over a scratch database: which answer belongs to which row.

An answer belongs to its owner, the row that it was given to last: the row that asked, or one that reuses it. It is
valid for that row as long as the row makes a request that the answer was given or accepted for. Answers that are valid
for no row go to rows without one that make the same request, or that they were last accepted for, one to one. Those
that are left count as changed for rows of the same content.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt

from pipeline.journal import ADOPTIONS, ANSWERS, Claim, EventHead, State
from pipeline.plan.cells import SEPARATOR
from pipeline.plan.plan import Plan

_EVENTS_PER_CHUNK = 10_000

SCHEMA = """
CREATE TABLE input (position INTEGER PRIMARY KEY, row_id TEXT, request_hash TEXT, content TEXT);
CREATE TABLE answers (seq INTEGER PRIMARY KEY, state INTEGER, row_id TEXT, owner TEXT, request_hash TEXT,
    settings INTEGER, content TEXT);
CREATE TABLE accepted (row_id TEXT, request_hash TEXT, content TEXT, source INTEGER, seq INTEGER);
CREATE TABLE unsent (position INTEGER PRIMARY KEY);
CREATE TABLE former (position INTEGER, request_hash TEXT);
CREATE TABLE given (source INTEGER PRIMARY KEY, owner TEXT, settings INTEGER);
CREATE TABLE unanswered (row_id TEXT, request_hash TEXT, seq INTEGER, state INTEGER,
    PRIMARY KEY (row_id, request_hash)) WITHOUT ROWID;
CREATE TABLE lines (row_id TEXT, request_hash TEXT, content TEXT, PRIMARY KEY (row_id, request_hash)) WITHOUT ROWID;
CREATE TABLE matches (position INTEGER PRIMARY KEY, seq INTEGER, state INTEGER, is_new INTEGER);
"""
"""`settings` of an answer are those under which its owner got it. `unanswered` holds the requests of rows whose latest
event is no answer; `accepted` the requests for which a row took over an answer; `former` what rows asked under
settings whose answers they are to keep; `unsent` the rows that make no request, where that is asked; `lines` the
requests that wait in batches.
"""

_SEPARATOR = f"char({ord(SEPARATOR)})"
_WITH_OCCURRENCE = (
    f"CASE instr(row_id, {_SEPARATOR}) WHEN 0 THEN row_id || '#' || nth"
    f" ELSE replace(row_id, {_SEPARATOR}, '#' || nth || {_SEPARATOR}) END"
)
"""The id of a row with its occurrence, as `cells.with_occurrence` makes it."""

# The part of a row's id after that of its input row; empty for most.
_MARK = f"CASE instr({{0}}, {_SEPARATOR}) WHEN 0 THEN '' ELSE substr({{0}}, instr({{0}}, {_SEPARATOR})) END"
_ADOPTED = f"CASE a.state WHEN {State.UNPRICED} THEN {State.ADOPTED_UNPRICED} ELSE {State.ADOPTED} END"
_LATEST_WINS = "ON CONFLICT DO UPDATE SET seq = excluded.seq, state = excluded.state WHERE excluded.seq > seq"
_MATCH = f"""
UPDATE answers SET (owner, settings) = (SELECT g.owner, g.settings FROM given g WHERE g.source = answers.seq)
    WHERE seq IN (SELECT source FROM given);
INSERT INTO matches SELECT i.position, a.seq, a.state, 0
    FROM answers a CROSS JOIN input i ON i.row_id = a.row_id AND i.request_hash = a.request_hash
    WHERE a.owner = a.row_id {_LATEST_WINS};
INSERT INTO matches SELECT i.position, a.seq, {_ADOPTED}, 0
    FROM accepted c CROSS JOIN answers a ON a.seq = c.source AND a.owner = c.row_id
    CROSS JOIN input i ON i.row_id = c.row_id AND i.request_hash = c.request_hash
    WHERE NOT EXISTS (SELECT 1 FROM unanswered u WHERE u.row_id = c.row_id AND u.request_hash = c.request_hash
        AND u.request_hash != a.request_hash) {_LATEST_WINS};
CREATE INDEX matches_by_event ON matches (seq);
CREATE TABLE wanting AS SELECT position, request_hash,
        row_number() OVER (PARTITION BY request_hash ORDER BY position) AS nth
    FROM input i WHERE NOT EXISTS (SELECT 1 FROM matches m WHERE m.position = i.position);
CREATE INDEX wanting_by_request ON wanting (request_hash, nth);
INSERT INTO matches SELECT w.position, a.seq, {_ADOPTED}, 1
    FROM (SELECT seq, state, request_hash, row_number() OVER (PARTITION BY request_hash ORDER BY seq) AS nth
          FROM answers WHERE seq NOT IN (SELECT seq FROM matches)) a
    CROSS JOIN wanting w ON w.request_hash = a.request_hash AND w.nth = a.nth;
"""
# Only if nothing but the settings had changed: an answer kept for an edited row is for that row only.
_ADOPT_ACCEPTED = f"""
CREATE INDEX accepted_by_source ON accepted (source, request_hash);
INSERT INTO matches SELECT w.position, a.seq, {_ADOPTED}, 1
    FROM (SELECT a.seq, a.state, k.request_hash, row_number() OVER (PARTITION BY k.request_hash ORDER BY a.seq) AS nth
          FROM answers a JOIN (SELECT source, row_id, request_hash, max(rowid) FROM accepted GROUP BY source, row_id) k
              ON k.source = a.seq AND k.row_id = a.owner
          WHERE a.seq NOT IN (SELECT seq FROM matches) AND EXISTS (SELECT 1 FROM accepted s
              WHERE s.source = a.seq AND s.request_hash = k.request_hash AND s.content = a.content)) a
    CROSS JOIN (SELECT position, request_hash, row_number() OVER (PARTITION BY request_hash ORDER BY position) AS nth
          FROM wanting WHERE position NOT IN (SELECT position FROM matches)) w
        ON w.request_hash = a.request_hash AND w.nth = a.nth;
"""
_UNANSWERED = """
INSERT OR IGNORE INTO matches SELECT i.position, u.seq, u.state, 0
    FROM unanswered u CROSS JOIN input i ON i.row_id = u.row_id AND i.request_hash = u.request_hash;
"""
# As in _MATCH, by the earlier requests of the rows that are left.
_KEEP_FORMER = f"""
CREATE INDEX former_by_row ON former (position, request_hash);
CREATE TABLE settled AS SELECT position, seq FROM matches;
CREATE INDEX settled_by_row ON settled (position);
CREATE INDEX settled_by_event ON settled (seq);
INSERT INTO matches SELECT i.position, a.seq, {_ADOPTED}, 1
    FROM answers a CROSS JOIN input i ON i.row_id = a.row_id
    CROSS JOIN former f ON f.position = i.position AND f.request_hash = a.request_hash
    WHERE a.owner = a.row_id AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.position = i.position)
        AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.seq = a.seq) {_LATEST_WINS};
INSERT INTO matches SELECT i.position, a.seq, {_ADOPTED}, 1
    FROM accepted c CROSS JOIN answers a ON a.seq = c.source AND a.owner = c.row_id
    CROSS JOIN input i ON i.row_id = c.row_id
    CROSS JOIN former f ON f.position = i.position AND f.request_hash = c.request_hash
    WHERE NOT EXISTS (SELECT 1 FROM unanswered u WHERE u.row_id = c.row_id AND u.request_hash = c.request_hash
        AND u.request_hash != a.request_hash) AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.position = i.position)
        AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.seq = a.seq) {_LATEST_WINS};
"""
_KEEP_FAILED = f"""
INSERT OR IGNORE INTO matches SELECT i.position, u.seq, u.state, 0
    FROM unanswered u CROSS JOIN input i ON i.row_id = u.row_id
    CROSS JOIN former f ON f.position = i.position AND f.request_hash = u.request_hash
    WHERE u.state IN ({State.FAILED_PASSING}, {State.FAILED}) ORDER BY u.seq DESC;
"""
_CHANGED = f"""
INSERT OR IGNORE INTO matches SELECT i.position, a.seq, {State.CHANGED}, 0
    FROM answers a CROSS JOIN input i ON i.row_id = a.owner
    WHERE NOT EXISTS (SELECT 1 FROM matches m WHERE m.seq = a.seq) ORDER BY a.seq DESC;
CREATE TABLE orphans AS SELECT a.seq, a.content || {_MARK.format("a.owner")} AS content,
        row_number() OVER (PARTITION BY a.content, {_MARK.format("a.owner")} ORDER BY a.seq) AS nth
    FROM answers a WHERE NOT EXISTS (SELECT 1 FROM matches m WHERE m.seq = a.seq)
        AND NOT EXISTS (SELECT 1 FROM input i WHERE i.row_id = a.owner);
"""
_CHANGED_BY_CONTENT = f"""
CREATE INDEX orphans_by_content ON orphans (content, nth);
INSERT INTO matches SELECT i.position, o.seq, {State.CHANGED}, 0
    FROM (SELECT position, content, row_number() OVER (PARTITION BY content ORDER BY position) AS nth
          FROM (SELECT position, content || {_MARK.format("row_id")} AS content FROM input)
          WHERE content IN (SELECT content FROM orphans) AND position NOT IN (SELECT position FROM matches)) i
    CROSS JOIN orphans o ON o.content = i.content AND o.nth = i.nth;
DELETE FROM orphans WHERE seq IN (SELECT seq FROM matches);
"""
# Rows that were told to keep an answer to another request. A row whose own request was answered, and whose answer was
# then replaced by a longer one, is not asked again.
_FORGET_KEPT = f"""
CREATE INDEX answers_by_row ON answers (row_id, request_hash);
UPDATE matches SET state = {State.CHANGED} WHERE EXISTS (SELECT 1 FROM answers a
    JOIN input i ON i.position = matches.position WHERE a.seq = matches.seq AND a.request_hash != i.request_hash
        AND NOT EXISTS (SELECT 1 FROM answers o WHERE o.row_id = i.row_id AND o.request_hash = i.request_hash));
"""


def load_journal(scratch: sqlite3.Connection, index: Iterable[EventHead]) -> bool:
    """Load every event, oldest first. Returns whether there was one."""
    events = iter(index)
    seen = False
    while chunk := list(islice(events, _EVENTS_PER_CHUNK)):
        seen = True
        answers, accepted, given = [], [], []
        unanswered: dict[tuple[str, str], tuple[int, int] | None] = {}
        for seq, _, _, state, row_id, request_hash, settings, content, source in chunk:
            unanswered[row_id, request_hash] = None
            if state in ANSWERS:
                answers.append((seq, state, row_id, row_id, request_hash, settings, content))
            elif state in ADOPTIONS:
                accepted.append((row_id, request_hash, content, source, seq))
                given.append((source, row_id, settings))
            else:
                unanswered[row_id, request_hash] = (seq, state)
        scratch.executemany("INSERT INTO answers VALUES (?,?,?,?,?,?,?)", answers)
        scratch.executemany("INSERT INTO accepted VALUES (?,?,?,?,?)", accepted)
        scratch.executemany("INSERT OR REPLACE INTO given VALUES (?,?,?)", given)
        left = [(*asked, *facts) for asked, facts in unanswered.items() if facts is not None]
        ended = [asked for asked, facts in unanswered.items() if facts is None]
        scratch.executemany("DELETE FROM unanswered WHERE row_id = ? AND request_hash = ?", ended)
        scratch.executemany("INSERT OR REPLACE INTO unanswered VALUES (?,?,?,?)", left)
    return seen


def load_lines(scratch: sqlite3.Connection, lines: Iterable[Claim]) -> None:
    """Load the requests that wait in batches."""
    asked = ((one.row_id, one.request_hash, one.content_key) for one in lines)
    scratch.executemany("INSERT OR IGNORE INTO lines VALUES (?,?,?)", asked)


def number_repeated(
    scratch: sqlite3.Connection, positions: npt.NDArray[np.uint32], occurrences: npt.NDArray[np.uint32]
) -> None:
    """Make the ids of rows at these positions unique, as `Plan.row_ids` does; rows that are not loaded are passed
    over.
    """
    if len(positions):
        scratch.execute("CREATE TABLE repeated (position INTEGER PRIMARY KEY, nth INTEGER)")
        numbered = zip(map(int, positions), map(int, occurrences), strict=True)
        scratch.executemany("INSERT INTO repeated VALUES (?,?)", numbered)
        scratch.execute(
            f"UPDATE input SET row_id = {_WITH_OCCURRENCE} FROM repeated r WHERE r.position = input.position"
        )


def index_input(scratch: sqlite3.Connection) -> None:
    """Make the rows findable by id, once all are loaded."""
    scratch.execute("CREATE INDEX input_by_row ON input (row_id, request_hash)")


def match(scratch: sqlite3.Connection, *, forget_kept: bool) -> int:
    """Fill `matches`, with the latest event if several match. Returns how many answers are orphaned.

    With `forget_kept`, rows that were told to keep an answer to another request count as changed again.
    """
    scratch.executescript(_MATCH)
    if _any(scratch, "accepted"):
        scratch.executescript(_ADOPT_ACCEPTED)
    if keeps_former := _any(scratch, "former"):
        scratch.executescript(_KEEP_FORMER)
    scratch.executescript(_UNANSWERED)
    if keeps_former:
        scratch.executescript(_KEEP_FAILED)
    scratch.executescript(_CHANGED)
    if _any(scratch, "orphans"):
        scratch.executescript(_CHANGED_BY_CONTENT)
    if forget_kept:
        scratch.executescript(_FORGET_KEPT)
    (orphaned,) = scratch.execute("SELECT count(*) FROM orphans").fetchone()
    return int(orphaned)


def spare_events(scratch: sqlite3.Connection) -> tuple[int, bool]:
    """Return how many answers and failures belong to no row that asks for them, and whether a row newly takes over an
    answer.
    """
    (answers,) = scratch.execute(
        "SELECT count(*) FROM answers a WHERE NOT EXISTS"
        f" (SELECT 1 FROM matches m WHERE m.seq = a.seq AND m.state != {State.CHANGED})"
    ).fetchone()
    (others,) = scratch.execute(
        "SELECT count(*) FROM unanswered u WHERE NOT EXISTS (SELECT 1 FROM matches m WHERE m.seq = u.seq)"
    ).fetchone()
    (adopted,) = scratch.execute("SELECT EXISTS (SELECT 1 FROM matches WHERE is_new = 1)").fetchone()
    return int(answers) + int(others), bool(adopted)


def put_matches(scratch: sqlite3.Connection, plan: Plan) -> None:
    """Give the rows of a plan the states that were found."""
    found = scratch.execute("SELECT position, seq, state FROM matches")
    while rows := found.fetchmany(_EVENTS_PER_CHUNK):
        plan.put_all(*np.array(rows, np.int64).T)


def _any(scratch: sqlite3.Connection, table: str) -> bool:
    (found,) = scratch.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()
    return bool(found)
