"""A plan before it holds: what a person has to decide, and which rows take over an answer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.journal import State
from pipeline.plan.plan import SUCCEEDED, Plan
from pipeline.plan.rows import Rows


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


@dataclass(frozen=True, slots=True)
class Answered:
    """A row with the answer that stands for it, event `source`. `stood_for` are the hashes of all requests but its own
    that the answer stands for, the one it was given to among them; `adoption` is the last event by which the row took
    an answer for its request, 0 where there is none.
    """

    position: int
    row_id: str
    request_hash: str
    content: str
    source: int
    is_priced: bool
    stood_for: tuple[str, ...]
    adoption: int


class PlanDraft:
    """A plan, and the scratch database in which its rows stand beside the journal's answers."""

    plan: Plan
    _rows: Rows
    _scratch: sqlite3.Connection

    def answered_rows(self) -> int:
        """How many rows of the input have an answer under their id, whatever it was asked for."""
        return self._number("SELECT count(DISTINCT i.position) FROM answers a CROSS JOIN input i ON i.row_id = a.owner")

    def changed_rows(self, settings: Sequence[int | None]) -> tuple[int, int]:
        """How many answered rows now make another request: because the settings changed, and because they did.

        Settings are the cause where they are not those of the answer and some such row is what it was. `settings` are
        the numbers of those that each variant has now, None for those that are new.
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

    def carried_changes(self) -> int:
        """How many rows have a sound answer and yet other content than when it was asked: carried columns changed."""
        return self._number(
            "SELECT count(*) FROM matches m JOIN answers a ON a.seq = m.seq JOIN input i ON i.position = m.position"
            f" WHERE m.state IN ({State.ANSWERED}, {State.UNPRICED}) AND a.content NOT IN ('', i.content)"
        )

    def adoptions(self) -> Iterator[Change]:
        """Rows without an answer that take over an orphaned one to the same request."""
        return self._changes(f"m.is_new = 1 AND m.state != {State.CHANGED}")

    def changes(self) -> Iterator[Change]:
        """Answered rows that now make another request."""
        return self._changes(f"m.state = {State.CHANGED}")

    def answers(self) -> int:
        """How many answers the journal holds."""
        return self._number("SELECT count(*) FROM answers")

    def some_answers(self, most: int) -> list[int]:
        """The numbers of at most so many answers, the latest ones, in ascending order."""
        return [
            seq
            for (seq,) in self._scratch.execute(
                "SELECT seq FROM (SELECT seq FROM answers ORDER BY seq DESC LIMIT ?) ORDER BY seq", (most,)
            )
        ]

    def orphans(self, among: npt.NDArray[np.bool_] | None = None) -> int:
        """How many answers stand for no row; `among`, those that count by their number."""
        if among is None:
            return self.plan.orphaned
        orphaned = self._scratch.execute("SELECT seq FROM orphans") if self.plan.orphaned else ()
        return sum(bool(among[seq]) for (seq,) in orphaned)

    def answered(self) -> Iterator[Answered]:
        """Every row that an answer stands for, in input order."""
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
        """Yield the event and the position of each answer that stands for a row, but for those under these settings."""
        yield from self._scratch.execute(
            "SELECT a.seq, m.position FROM matches m JOIN answers a ON a.seq = m.seq WHERE m.state IN"
            f" {tuple(int(one) for one in SUCCEEDED)} AND a.settings NOT IN ({','.join(map(str, settings))})"
        )

    def refuse(self, position: int) -> None:
        """Let the answer that stands for a row stand no more: what came of the same request after it stands again. Else
        the row is changed; one that would have taken the answer over is new.
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
