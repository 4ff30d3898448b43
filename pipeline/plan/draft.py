"""A plan before it is accepted: what a person has to decide, and which rows reuse an answer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from pipeline.journal import State
from pipeline.plan.plan import STATE_BITS, SUCCEEDED, Plan
from pipeline.plan.rows import Rows
from pipeline.plan.sharing import sharers


class Change(Struct, frozen=True):
    """A row that would reuse the answer of event `source`, which was made under the settings `settings_id`."""

    position: int
    row_id: str
    request_hash: str
    content_key: str
    source: int
    is_priced: bool
    settings_id: int


class Answered(Struct, frozen=True):
    """A row and its answer, event `source`.

    `stood_for` are the hashes of all other requests that the answer is valid for, including the one that it was given
    for. `adoption` is the last event by which the row reuses an answer for its request, 0 if there is none.
    """

    position: int
    row_id: str
    request_hash: str
    content_key: str
    source: int
    is_priced: bool
    stood_for: tuple[str, ...]
    adoption: int


class PlanDraft:
    """A plan, and the scratch database that holds its rows and the journal's answers, but for rows that are as in the
    last plan: `carried` is how many answers these have.
    """

    def __init__(self, plan: Plan, rows: Rows, scratch: sqlite3.Connection, carried: int = 0) -> None:
        self.plan = plan
        self._rows = rows
        self._scratch = scratch
        self._carried = carried

    @property
    def has_carried(self) -> bool:
        """Whether answers are as in the last plan, in which then no row shared the outcome of another."""
        return self._carried > 0

    def answered_rows(self) -> int:
        """Return how many input rows have an answer under their id, to whatever request."""
        return self._carried + self._number(
            "SELECT count(DISTINCT i.position) FROM answers a CROSS JOIN input i ON i.row_id = a.owner"
        )

    def changed_rows(self, settings: Sequence[int | None]) -> tuple[int, int]:
        """Return how many answered rows now make another request: because the settings changed, and because the rows
        did.

        The settings are the cause if they differ from those of the answer and at least one such row has the same
        content. `settings` are the numbers of the current settings of each variant, None for new ones.
        """
        self._scratch.execute("CREATE TEMP TABLE IF NOT EXISTS now (variant INTEGER PRIMARY KEY, settings INTEGER)")
        self._scratch.executemany("INSERT OR REPLACE INTO now VALUES (?,?)", enumerate(settings))
        (unlike, unchanged) = self._scratch.execute(
            "SELECT count(*), coalesce(sum(a.content = i.content), 0) FROM matches m JOIN answers a ON a.seq = m.seq"
            f" JOIN input i ON i.position = m.position WHERE m.state = {State.CHANGED} AND a.settings IS NOT"
            " (SELECT settings FROM now WHERE variant = i.position % ? / ?)",
            (self._rows.cells, self._rows.samples or 1),
        ).fetchone()
        by_settings = int(unlike) if unchanged else 0
        return by_settings, self.plan.count(State.CHANGED) - by_settings

    def asked_anew(self) -> int:
        """Return how many rows of unchanged content wait in a batch, and would be sent another request."""
        return self._number(
            "SELECT count(DISTINCT i.position) FROM lines l CROSS JOIN input i ON i.row_id = l.row_id"
            " WHERE l.content IN ('', i.content) AND NOT EXISTS"
            " (SELECT 1 FROM lines o WHERE o.row_id = i.row_id AND o.request_hash = i.request_hash) AND NOT EXISTS"
            " (SELECT 1 FROM matches m WHERE m.position = i.position AND m.state IN"
            f" {tuple(int(one) for one in SUCCEEDED)})"
        )

    def carried_changes(self) -> int:
        """Return how many rows have a valid answer, but other content than when it was asked for: carried columns
        changed.
        """
        return self._number(
            "SELECT count(*) FROM matches m JOIN answers a ON a.seq = m.seq JOIN input i ON i.position = m.position"
            f" WHERE m.state IN ({State.ANSWERED}, {State.UNPRICED}) AND a.content NOT IN ('', i.content)"
        )

    def adoptions(self) -> Iterator[Change]:
        """Yield the rows without an answer that reuse an orphaned one to the same request."""
        return self._changes(f"m.is_new = 1 AND m.state != {State.CHANGED}")

    def changes(self) -> Iterator[Change]:
        """Yield the answered rows that now make another request."""
        return self._changes(f"m.state = {State.CHANGED}")

    def answers(self) -> int:
        """Return how many answers the journal holds."""
        return self._carried + self._number("SELECT count(*) FROM answers")

    def some_answers(self, most: int) -> list[int]:
        """Return the numbers of the latest answers, at most so many, in ascending order."""
        found = [seq for (seq,) in self._scratch.execute("SELECT seq FROM answers ORDER BY seq DESC LIMIT ?", (most,))]
        latest = np.unique(np.array(found, np.uint64))
        for positions in self.plan.positions(SUCCEEDED) if self._carried else ():
            latest = np.union1d(latest, self.plan.latest[positions] >> np.uint64(STATE_BITS))[-most:]
        return [int(seq) for seq in latest]

    def orphans(self, among: npt.NDArray[np.bool_] | None = None) -> int:
        """Return how many answers belong to no row. `among` tells by number which answers count."""
        if among is None:
            return self.plan.orphaned
        orphaned = self._scratch.execute("SELECT seq FROM orphans") if self.plan.orphaned else ()
        return sum(bool(among[seq]) for (seq,) in orphaned)

    def answered(self) -> Iterator[Answered]:
        """Yield every row that has a valid answer, in input order."""
        self._scratch.execute("CREATE INDEX IF NOT EXISTS accepted_by_row ON accepted (row_id, request_hash, seq)")
        for (
            position,
            row_id,
            request_hash,
            content,
            source,
            state,
            given_for,
            taken_for,
            adoption,
        ) in self._scratch.execute(
            "SELECT i.position, i.row_id, i.request_hash, i.content, a.seq, a.state, a.request_hash,"
            " (SELECT json_group_array(c.request_hash) FROM accepted c WHERE c.row_id = i.row_id"
            "     AND c.source = a.seq),"
            " (SELECT coalesce(max(c.seq), 0) FROM accepted c WHERE c.row_id = i.row_id"
            "     AND c.request_hash = i.request_hash)"
            " FROM matches m JOIN input i ON i.position = m.position JOIN answers a ON a.seq = m.seq"
            f" WHERE m.state IN {tuple(int(one) for one in SUCCEEDED)} ORDER BY i.position"
        ):
            stood_for = {given_for, *json.loads(taken_for)} - {request_hash}
            yield Answered(
                position,
                row_id,
                request_hash,
                content,
                source,
                state != State.UNPRICED,
                tuple(sorted(stood_for)),
                adoption,
            )

    def answers_but_of(self, settings: Collection[int]) -> Iterator[tuple[int, int]]:
        """Yield the event and the position of each answer that is valid for a row, except for these settings."""
        yield from self._scratch.execute(
            "SELECT a.seq, m.position FROM matches m JOIN answers a ON a.seq = m.seq WHERE m.state IN"
            f" {tuple(int(one) for one in SUCCEEDED)} AND a.settings NOT IN ({','.join(map(str, settings))})"
        )

    def overtaken(self) -> Iterator[tuple[int, int, int]]:
        """Yield the position of each row that was asked the same again after its valid answer, but got no other one,
        with the event of that answer and the row's latest.
        """
        yield from self._scratch.execute(
            "SELECT m.position, m.seq, u.seq FROM unanswered u CROSS JOIN input i ON i.row_id = u.row_id"
            " AND i.request_hash = u.request_hash JOIN matches m ON m.position = i.position"
            f" WHERE m.seq < u.seq AND m.state IN ({State.ANSWERED}, {State.UNPRICED})"
        )

    def refuse(self, position: int) -> None:
        """Reject the answer of a row, and give it the state of the event after it for the same request.

        Without such an event the row is changed, or new if it would have reused the answer of another row.
        """
        ((event, is_new),) = self._scratch.execute("SELECT seq, is_new FROM matches WHERE position = ?", (position,))
        later = self._scratch.execute(
            "SELECT u.seq, u.state FROM unanswered u JOIN input i ON i.row_id = u.row_id"
            " AND i.request_hash = u.request_hash WHERE i.position = ?",
            (position,),
        ).fetchone()
        event, state = later or ((0, State.NEW) if is_new else (event, State.CHANGED))
        self._scratch.execute(
            "UPDATE matches SET seq = ?, state = ?, is_new = 0 WHERE position = ?", (event, state, position)
        )
        self.plan.put(position, event, state)
        self.plan.orphaned += is_new
        self.plan.unsettle()

    def new_rows(self) -> int:
        """Return how many rows without an answer would be sent: not those that will share the outcome of another."""
        sharing = sum(self.plan.state(position) is State.NEW for position, _ in self._sharers())
        return self.plan.count(State.NEW, State.ATTEMPTED) - sharing

    def share(self) -> None:
        """Let rows of the same request share one outcome, where the job says so; but for samples of one row, and rows
        of different variants. It comes last, when it is decided which rows keep an answer.
        """
        for position, payer in self._sharers():
            self.plan.put(position, payer, State.SHARED)

    def _sharers(self) -> Iterator[tuple[int, int]]:
        """Yield the rows that share, as `sharers` does; none where the job sends every row."""
        if self._rows.deduplicate:
            yield from sharers(self.plan, self._groups(), self._out())

    def _out(self) -> set[int]:
        """Return the positions of the rows whose request waits in a batch."""
        found = self._scratch.execute(
            "SELECT i.position FROM lines l"
            " CROSS JOIN input i ON i.row_id = l.row_id AND i.request_hash = l.request_hash"
        )
        return {position for (position,) in found}

    def _groups(self) -> Iterator[tuple[tuple[int, str], int]]:
        """Yield what rows that may share have in common, and the position of each, as `sharers` takes them."""
        for cell, request_hash, position in self._scratch.execute(
            "SELECT position % ? AS cell, request_hash, position FROM input"
            " WHERE position NOT IN (SELECT position FROM unsent) ORDER BY 1, 2, 3",
            (self._rows.cells,),
        ):
            yield (cell, request_hash), position

    def _changes(self, condition: str) -> Iterator[Change]:
        for position, row_id, request_hash, content, source, state, settings in self._scratch.execute(
            "SELECT i.position, i.row_id, i.request_hash, i.content, a.seq, a.state, a.settings FROM matches m"
            f" JOIN input i ON i.position = m.position JOIN answers a ON a.seq = m.seq WHERE {condition}"
            " ORDER BY i.position"
        ):
            yield Change(position, row_id, request_hash, content, source, state != State.UNPRICED, settings)

    def _number(self, query: str) -> int:
        (number,) = self._scratch.execute(query).fetchone()
        return int(number)
