"""What there is to know of the rows of an input before anything is joined: how many, which are equal, their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InvalidJob, Mistake
from pipeline.plan.blocks import Blocks, columns_text
from pipeline.plan.keys import KeyFile, keys_of_ids, occurrences, repeated_numbers
from pipeline.plan.plan import Inventory, KnownFile, Plan
from pipeline.plan.rows import Rows
from pipeline.sources import InputFile, Mark, digest_of_beginning, file_facts, notes_of_files

_NO_ID = "give each row an id of its own; where the job names `input.id`, without it rows are known by content"
_MOST_NAMED = 5
_MOST_REMEMBERED = 1000


class Survey:
    """One pass over the rows of an input, which the caller reads batch by batch.

    Raises InvalidJob at an invalid id, and OSError if keys cannot be written.
    """

    def __init__(self, rows: Rows, directory: Path) -> None:
        self._rows = rows
        self._keys = KeyFile.create(directory, 1 if rows.id_columns else 2)
        self._reader = rows.block_reader()
        self._columns = _columns(rows)
        self._notes = notes_of_files(rows.source)
        self._same: dict[str, KnownFile] = {}

    def begin_with(self, known: Inventory) -> int:
        """Take the rows at the beginning that are as they were, by their files, or by the beginning of a file that has
        grown. Returns the number of the first row to add.
        """
        if known.columns != self._columns:
            return 0
        first = 0
        for file, notes, before in zip(self._rows.source.files, self._notes, known.files, strict=False):
            if file_facts(file) != before.facts:
                if before.marks and digest_of_beginning(file, before.marks[-1].byte) == before.beginning:
                    notes.marks = list(before.marks)
                    first += before.marks[-1].rows
                break
            notes.marks, notes.rows = list(before.marks), before.rows
            first += before.rows
            self._same[file.path] = before
        # Where the last of their blocks ends was decided by the rows behind it, or by the end of the input.
        whole = max(0, int(np.searchsorted(known.blocks.starts, first, "right")) - 1)
        whole = min(whole, len(known.blocks.rows) - 1) if whole else 0
        start = int(known.blocks.starts[whole])
        for keys in known.keys.parts(0, start):
            self._keys.append(keys)
        self._reader = self._rows.block_reader(Blocks(known.blocks.digests[:whole], known.blocks.rows[:whole]))
        return start

    def add(self, position: int, batch: pa.RecordBatch, contents: Sequence[str] | None = None) -> None:
        """Add the rows of the next batch, the first of which is at `position`; see `Rows.keys`."""
        keys = self._rows.keys(position, batch, contents)
        self._keys.append(keys)
        self._reader.add(batch, keys)

    def plan(self, number: int, fingerprint: str, rules: str) -> Plan:
        """Return the plan of all rows that were added, in which none has an event yet; see `draft_plan`. Raises
        InvalidJob at an id that stands twice.
        """
        repeated, occurrences = self._numbered()
        kept = self._inventory(rules)
        return Plan(
            number=number,
            fingerprint=fingerprint,
            digest=self._rows.digest(kept.blocks),
            latest=np.zeros(self._keys.count * self._rows.cells, np.uint64),
            repeated=repeated,
            occurrences=occurrences,
            orphaned=0,
            inventory=kept,
        )

    def _inventory(self, rules: str) -> Inventory:
        counted = [
            self._known(file, notes.rows, notes.marks)
            for file, notes in zip(self._rows.source.files, self._notes, strict=False)
            if notes.rows is not None
        ]
        known = tuple(counted) if len(counted) == len(self._rows.source.files) else ()
        return Inventory(rules, self._columns, known, self._reader.finish(), self._keys, is_settled=True)

    def _known(self, file: InputFile, rows: int, marks: Sequence[Mark]) -> KnownFile:
        if file.path in self._same:
            return self._same[file.path]
        facts = file_facts(file)
        if file.mark or not marks:  # an object is not read again for this
            return KnownFile(facts, rows)
        return KnownFile(facts, rows, tuple(marks), digest_of_beginning(file, marks[-1].byte))

    def _numbered(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Return the positions of the rows that repeat an earlier one, and for the how manieth time."""
        if self._rows.id_columns:
            self._refuse_duplicates(repeated_numbers(self._keys))
            return np.zeros(0, np.uint32), np.zeros(0, np.uint32)
        rows, numbers = occurrences(self._keys)
        cells = self._rows.cells
        positions = np.repeat(rows * np.uint32(cells), cells) + np.tile(np.arange(cells, dtype=np.uint32), len(rows))
        return positions, np.repeat(numbers, cells)

    def _refuse_duplicates(self, numbers: npt.NDArray[np.uint64]) -> None:
        """Raise InvalidJob if two rows with one of these keys have the same id, with the places of both."""
        if not len(numbers):
            return
        rows, seen = self._rows, dict[str, list[int]]()
        for position, batch in rows.batches():
            ids = rows.own_ids(position, batch)
            for index in np.flatnonzero(np.isin(keys_of_ids(ids)[:, 0], numbers)).tolist():
                places = seen.get(ids[index])
                if places is not None:
                    places[1] = position + index * rows.cells
                elif len(seen) < _MOST_REMEMBERED:
                    seen[ids[index]] = [position + index * rows.cells] * 2
        named = [
            f"{row_id!r} ({rows.place(first)} and {rows.place(last)})"
            for row_id, (first, last) in seen.items()
            if first != last
        ]
        if named:
            more = ", and more" if len(named) > _MOST_NAMED else ""
            of = f"column{'s' if len(rows.id_columns) > 1 else ''} {', '.join(map(repr, rows.id_columns))}"
            message = f"the {of} must be unique, but these ids stand twice: {', '.join(named[:_MOST_NAMED])}{more}"
            raise InvalidJob([Mistake(message, key="input.id", suggestion=_NO_ID)])


def _columns(rows: Rows) -> str:
    return next((columns_text(batch.schema) for _, batch in rows.batches()), "")
