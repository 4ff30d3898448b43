"""The rows of an output: those of the input, together with their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from msgspec import Struct

from pipeline.arrays import integers, strings
from pipeline.errors import InvalidInput
from pipeline.journal import ANSWERS, Journal, State
from pipeline.journal.texts import EventTexts
from pipeline.plan import FAILED, SUCCEEDED, Plan, Rows, adopted_by_payers, settled
from pipeline.sink.ahead import ahead
from pipeline.sink.joined import Joined, Unbuilt, fields_of
from pipeline.sources.files import is_touched

# So many rows are joined at a time that they take about these bytes, judging by the previous ones.
_BYTES_PER_SLICE = 2**20
# If they take more than this, fewer rows are joined: the previous ones were shorter.
_MAX_BYTES_PER_SLICE = 4 * _BYTES_PER_SLICE
_MAX_ROWS_PER_SLICE = 4096
_ROWS_AT_FIRST = 16
# As integers, as in a plan: comparing those with enum members is slow.
_FAILED = [int(one) for one in FAILED]
_ANSWERED = [int(one) for one in ANSWERS]
_ADOPTED = [int(State.ADOPTED), int(State.ADOPTED_UNPRICED)]
_NOTHING = EventTexts(strings([]), strings([]), np.zeros(0, np.int64), ())
_STATUSES = strings(["succeeded", "failed"])


class _Facts(Struct, frozen=True):
    """What holds for all rows: models by the number of the settings, the output's schema, and the id of the row that
    took over an answer, by the answer's event, where it pays for others.
    """

    models: Mapping[int, str]
    schema: pa.Schema
    adopters: Mapping[int, str]


class Results(Struct, frozen=True):
    """The input rows together with their results.

    `columns` are the input columns to include, None for all. `states` are the states of the rows to include, by default
    those with any outcome.
    """

    rows: Rows
    plan: Plan
    journal: Journal
    columns: Sequence[str] | None
    prefix: str
    states: tuple[State, ...] = (*SUCCEEDED, *FAILED)

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint that they are from."""
        return self.journal.checkpoint_id

    @property
    def count(self) -> int:
        """How many rows the plan has."""
        return len(self.plan)

    @property
    def fields(self) -> list[pa.Field]:
        """The result columns, without the prefix."""
        return fields_of(self.rows)

    @property
    def schema(self) -> pa.Schema:
        """The output's schema; it does not depend on the data."""
        return output_schema(self.rows, self.columns, self.prefix)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield every row of these states, in input order. Raises as `joined` does."""
        for part in self.joined():
            yield part.rows
            del part

    def joined(self) -> Iterator[Joined]:
        """Yield every row of these states, in input order, with its input row.

        Raises:
            InvalidInput: the input has changed since the plan was made.
            CheckpointFailed: the journal is damaged.
        """
        yield from ahead((unbuilt.build, unbuilt.size) for unbuilt in self._unbuilt())

    def _unbuilt(self) -> Iterator[Unbuilt]:
        joining = self.joining()
        for start, batch in self.rows.batches():
            yield from joining.unbuilt(start, batch)
        joining.finish()

    def joining(self) -> Joining:
        """Return what joins these results with their input, batch by batch."""
        return Joining(self)

    def at(self, positions: Sequence[int]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Yield the rows at ascending positions, one at a time: the input row, and what `batches` yields for it.

        Raises as `batches` does.
        """
        facts, left = self.facts(), list(positions)
        for start, batch in self.rows.batches(left[0]) if left else ():
            while left and left[0] < start + self.rows.count(batch):
                position = left.pop(0)
                row, cell = batch.slice((position - start) // self.rows.cells, 1), position % self.rows.cells
                ids = self.plan.row_ids([position], [self.rows.ids(position, row)[cell]])
                unbuilt = self.join(row, position - cell, cell, ids, facts)
                assert unbuilt is not None  # a single row is never too large
                yield row, unbuilt.build().rows
            if not left:
                return

    def facts(self) -> _Facts:
        """Return what holds for all rows."""
        adopted = adopted_by_payers(self.plan) if self.rows.deduplicate else ()
        heads = self.journal.index() if adopted else ()
        adopters = {head.source: head.row_id for head in heads if head.source in adopted}
        return _Facts(self.journal.models(), self.schema, adopters)

    def join(self, batch: pa.RecordBatch, start: int, skipped: int, ids: list[str], facts: _Facts) -> Unbuilt | None:
        """Return the rows with these ids and their results; None if they are several and take too many bytes at once.

        They are the rows that an input batch makes, which begins at position `start`, without the first `skipped` ones.
        """
        first, stop = start + skipped, start + skipped + len(ids)
        found_states = settled(self.plan, first, stop)
        states = found_states.states
        finished = np.flatnonzero(np.isin(states, [int(one) for one in self.states]))
        events = found_states.events[finished]
        numbers, at = np.unique(events, return_inverse=True)
        found = _NOTHING
        if len(numbers):
            read = self.journal.texts_together(numbers.tolist(), _MAX_BYTES_PER_SLICE)
            if read is None:
                return None
            found = read
        order, own = integers(at), [ids[offset] for offset in finished.tolist()]
        row_ids, own_ids = found.row_ids.take(order), strings(own)
        payers = found_states.payers[finished]
        if not row_ids.equals(own_ids):
            is_own = (payers < 0) & ~np.isin(states[finished], _ADOPTED)
            if any(row_ids[index].as_py() != own[index] for index in np.flatnonzero(is_own).tolist()):
                raise _changed()
        shared_from: dict[int, str] = {}
        for index in np.flatnonzero(payers >= 0).tolist():
            payer = facts.adopters.get(int(events[index])) or row_ids[index].as_py()
            shared_from[index] = self.rows.input_id(payer)
        settings, by_settings = np.unique(found.settings_ids, return_inverse=True)
        known = {
            "row_id": strings([self.rows.input_id(row_id) for row_id in own]) if self.rows.has_marks else own_ids,
            "status": _STATUSES.take(integers(np.isin(states[finished], _FAILED).astype(np.int64))),
            "model": strings([facts.models[one] for one in settings.tolist()]).take(integers(by_settings[at])),
            "request_hash": found.request_hashes.take(order),
        }
        texts = [found.records[index] for index in at.tolist()]
        answered = np.isin(states[finished], _ANSWERED)
        return Unbuilt(self.rows, facts.schema, batch, first, skipped, finished, answered, known, texts, shared_from)


def output_schema(rows: Rows, columns: Sequence[str] | None, prefix: str) -> pa.Schema:
    """Return the schema of an output of these rows; `columns` are the input columns that it has, None for all."""
    source = rows.source.schema
    carried = [source.field(name) for name in (source.names if columns is None else columns)]
    return pa.schema([*carried, *(field.with_name(prefix + field.name) for field in fields_of(rows))])


class Joining:
    """The join of an input with its results, batch by batch in input order. Raises as `Results.joined` does."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._facts = results.facts()
        self._rows = _ROWS_AT_FIRST
        # A file with another change time may hold other rows, even if its size and modification time are the same.
        self._was_touched = self._is_touched()
        self._blocks = results.rows.block_reader()

    def batch(self, start: int, batch: pa.RecordBatch) -> Iterator[Joined]:
        """Yield the rows that the next batch makes, the first of which is at position `start`."""
        return (unbuilt.build() for unbuilt in self.unbuilt(start, batch))

    def unbuilt(self, start: int, batch: pa.RecordBatch) -> Iterator[Unbuilt]:
        """Yield the same before the columns are made."""
        results = self._results
        stop = start + results.rows.count(batch)
        if stop > len(results.plan):
            raise _changed()
        if self._was_touched:
            self._blocks.add(batch, results.rows.keys(start, batch))
        ids = results.rows.ids(start, batch)
        unique = results.plan.row_ids(range(start, stop), ids)
        offset = 0
        while offset < stop - start:
            unbuilt = results.join(batch, start, offset, unique[offset : offset + self._rows], self._facts)
            if unbuilt is None:
                self._rows = max(1, self._rows // 4)
                continue
            offset += self._rows
            if size := unbuilt.size:
                self._rows = min(_MAX_ROWS_PER_SLICE, max(1, len(unbuilt.finished) * _BYTES_PER_SLICE // size))
            yield unbuilt
            del unbuilt

    def finish(self) -> None:
        """Check that all of the input was what was planned."""
        rows, plan = self._results.rows, self._results.plan
        if rows.digest(self._blocks.finish()) != plan.digest if self._was_touched else self._is_touched():
            raise _changed()

    def _is_touched(self) -> bool:
        return any(is_touched(file) for file in self._results.rows.source.files)


def _changed() -> InvalidInput:
    return InvalidInput("the input changed while it was read; run the job again to plan with what it is now")
