"""The rows of an output: those of the input, together with their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InvalidInput
from pipeline.journal import ANSWERS, EventHead, Journal, State
from pipeline.plan import FAILED, SUCCEEDED, Plan, Rows, adopted_by_payers, input_row_id, settled
from pipeline.sink.answers import ERROR, as_answer
from pipeline.sink.columns import KNOWN_NAMES, cell_columns, result_columns, result_fields, with_shared
from pipeline.sources import pick, taken, written_column
from pipeline.sources.files import is_touched

# So many rows are joined at a time that they take about these bytes, judging by the previous ones.
_BYTES_PER_SLICE = 2 * 2**20
# If they take more than this, fewer rows are joined: the previous ones were shorter.
_MAX_BYTES_PER_SLICE = 4 * _BYTES_PER_SLICE
_MAX_ROWS_PER_SLICE = 512
_ROWS_AT_FIRST = 16
# As integers, as in a plan: comparing those with enum members is slow.
_FAILED = frozenset(map(int, FAILED))
_ANSWERED = frozenset(map(int, ANSWERS))
_ADOPTED = frozenset({int(State.ADOPTED), int(State.ADOPTED_UNPRICED)})


@dataclass(frozen=True, slots=True)
class Joined:
    """Some rows of an output: `rows` in its columns, the input row of each, and their positions."""

    rows: pa.RecordBatch
    asked: pa.RecordBatch
    positions: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What holds for all rows: models by the number of the settings, the output's schema, and the id of the row that
    took over an answer, by the answer's event, where it pays for others.
    """

    models: Mapping[int, str]
    schema: pa.Schema
    adopters: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Results:
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

    def joined(self) -> Iterator[Joined]:
        """Yield every row of these states, in input order, with its input row.

        Raises:
            InvalidInput: the input has changed since the plan was made.
            CheckpointFailed: the journal is damaged.
        """
        joining = self.joining()
        for start, batch in self.rows.batches():
            yield from joining.batch(start, batch)
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
                joined = self.join(row, position - cell, cell, ids, facts)
                assert joined is not None  # a single row is never too large
                yield row, joined.rows
            if not left:
                return

    def facts(self) -> _Facts:
        """Return what holds for all rows."""
        adopted = adopted_by_payers(self.plan) if self.rows.deduplicate else ()
        heads = self.journal.index() if adopted else ()
        adopters = {head.source: head.row_id for head in heads if head.source in adopted}
        return _Facts(self.journal.models(), self.schema, adopters)

    def join(self, batch: pa.RecordBatch, start: int, skipped: int, ids: list[str], facts: _Facts) -> Joined | None:
        """Return the rows with these ids and their results; None if they are several and take too many bytes at once.

        They are the rows that an input batch makes, which begins at position `start`, without the first `skipped` ones.
        """
        first, stop = start + skipped, start + skipped + len(ids)
        found_states = settled(self.plan, first, stop)
        states = found_states.states
        finished = np.flatnonzero(np.isin(states, [int(one) for one in self.states]))
        events, payers = found_states.events[finished].tolist(), found_states.payers[finished].tolist()
        found: dict[int, tuple[EventHead, bytes]] = {}
        size = 0
        for entry, text in self.journal.texts(sorted(set(events))):
            found[entry.seq] = entry, text
            size += len(text)
            if size > _MAX_BYTES_PER_SLICE and len(ids) > 1:
                return None
        texts: list[bytes] = []
        known: dict[str, list[str]] = {name: [] for name in KNOWN_NAMES}
        shared_from: list[str | None] = []
        for offset, state, event, payer in zip(
            finished.tolist(), states[finished].tolist(), events, payers, strict=True
        ):
            entry, text = found[event]
            if payer >= 0:
                shared_from.append(input_row_id(facts.adopters.get(event, entry.row_id)))
            elif entry.row_id != ids[offset] and state not in _ADOPTED:
                raise _changed()
            else:
                shared_from.append(None)
            texts.append(as_answer(text) if state in _ANSWERED and ERROR in text else text)
            known["row_id"].append(input_row_id(ids[offset]))
            known["status"].append("failed" if state in _FAILED else "succeeded")
            known["model"].append(facts.models[entry.settings_id])
            known["request_hash"].append(entry.request_hash)
        fields, schema = self.fields, facts.schema
        batch = _behind(batch, (finished + skipped) // self.rows.cells)
        carried = [written_column(batch, schema.field(at)) for at in range(len(schema) - len(fields))]
        columns = result_columns(
            texts, known, self.rows.expected, has_replies=self.rows.has_replies, shares=self.rows.shares
        )
        if self.rows.deduplicate:
            columns = with_shared(columns, shared_from)
        if self.rows.has_variants or self.rows.samples is not None:
            variants, samples = np.divmod((finished + first) % self.rows.cells, self.rows.samples or 1)
            columns |= cell_columns([self.rows.variants[one].name for one in variants.tolist()], samples)
        rows = pa.RecordBatch.from_arrays([*carried, *(columns[field.name] for field in fields)], schema=schema)
        return Joined(rows, batch, finished + first)


def fields_of(rows: Rows) -> list[pa.Field]:
    """Return the columns that an output of these rows adds to its input's, without a prefix."""
    return result_fields(
        has_variants=rows.has_variants,
        has_samples=rows.samples is not None,
        expected=rows.expected,
        has_replies=rows.has_replies,
        shares=rows.shares,
    )


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
            joined = results.join(batch, start, offset, unique[offset : offset + self._rows], self._facts)
            if joined is None:
                self._rows = max(1, self._rows // 4)
                continue
            yield joined
            offset += self._rows
            if size := joined.rows.nbytes:
                self._rows = min(_MAX_ROWS_PER_SLICE, max(1, joined.rows.num_rows * _BYTES_PER_SLICE // size))

    def finish(self) -> None:
        """Check that all of the input was what was planned."""
        rows, plan = self._results.rows, self._results.plan
        if rows.digest(self._blocks.finish()) != plan.digest if self._was_touched else self._is_touched():
            raise _changed()

    def _is_touched(self) -> bool:
        return any(is_touched(file) for file in self._results.rows.source.files)


def _behind(batch: pa.RecordBatch, offsets: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return the input rows at ascending offsets, each as often as it is named."""
    is_repeated = np.any(offsets[1:] == offsets[:-1])
    return taken(batch, offsets) if is_repeated else pick(batch, offsets)


def _changed() -> InvalidInput:
    return InvalidInput("the input changed while it was read; run the job again to plan with what it is now")
