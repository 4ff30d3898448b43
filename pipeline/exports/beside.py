"""The output of a job together with what another job has said of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import InvalidInput
from pipeline.plan import Rows
from pipeline.sink import Joined
from pipeline.sources import Source
from pipeline.sources.identity import id_texts


class Answers(Protocol):
    """What an export reads: rows of an output in input order, in the columns of `schema`."""

    @property
    def rows(self) -> Rows:
        """The rows of the job."""

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint that they are from."""

    @property
    def prefix(self) -> str:
        """The prefix of the output's own columns."""

    @property
    def schema(self) -> pa.Schema:
        """The columns."""

    def joined(self) -> Iterator[Joined]:
        """Yield the rows that have an outcome."""


class OtherOutput(Struct, frozen=True):
    """The output of a job that reads this one's: its name, its rows, the prefix of its own columns, and the columns of
    this one that make the ids of its rows.
    """

    name: str
    source: Source
    prefix: str
    id_columns: Sequence[str]


class WithOther:
    """An output with the columns that another job has added to it. They are null in rows that the other job left out.

    Raises InvalidInput where the other job has named none of them so that they can be told apart.
    """

    def __init__(self, answers: Answers, other: OtherOutput) -> None:
        self._answers = answers
        self._other = other
        self.rows, self.checkpoint_id, self.prefix = answers.rows, answers.checkpoint_id, answers.prefix
        known = other.source.schema
        taken = set(answers.schema.names)
        self._added = [
            one.with_nullable(True) for one in known if one.name.startswith(other.prefix) and one.name not in taken
        ]
        if not other.prefix or f"{other.prefix}row_id" not in known.names or f"{other.prefix}row_id" in taken:
            raise InvalidInput(
                f"--with: the columns of {other.name} cannot be told from this output's; set output.prefix in its job"
            )
        self.schema = pa.schema([*answers.schema, *self._added])

    def joined(self) -> Iterator[Joined]:
        """Yield the rows as `Results.joined` does.

        Raises InvalidInput where the other output has rows that this one does not.
        """
        schema = pa.schema(self._added)
        batches = (batch.select(schema.names).cast(schema) for batch in self._other.source.batches())
        others = _Ahead(batches, schema, self._other.prefix + "row_id")
        for joined in self._answers.joined():
            found = others.rows_of(id_texts(joined.rows, self._other.id_columns))
            columns = [*joined.rows.columns, *(_one(found.column(field.name)) for field in self._added)]
            yield replace(joined, rows=pa.RecordBatch.from_arrays(columns, schema=self.schema))
        if others.has_more():
            raise InvalidInput(f"--with: {self._other.name} has rows that this output does not have; run its job again")


class Standing(Struct, frozen=True):
    """The output as it stands, where it has every row and shows what the journal holds: read sooner than joined anew.
    The input rows are not at hand.
    """

    rows: Rows
    checkpoint_id: str
    prefix: str
    schema: pa.Schema
    output: Source

    def joined(self) -> Iterator[Joined]:
        """Yield the rows as `Results.joined` does, the output's own in place of the input's."""
        start = 0
        for batch in self.output.batches():
            rows = batch.cast(self.schema)
            yield Joined(rows, rows, np.arange(start, start + rows.num_rows))
            start += rows.num_rows


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


class _Ahead:
    """The rows of the other output, which has some of this one's in the same order."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema, id_column: str) -> None:
        self._batches = batches
        self._id = id_column
        self._waiting = schema.empty_table()
        self._ids: list[str] = []

    def has_more(self) -> bool:
        """Return whether rows are left."""
        self._fill(1)
        return bool(self._ids)

    def rows_of(self, ids: Sequence[str | None]) -> pa.Table:
        """Return the other's row for each of these ids, in order; nulls where it has none."""
        self._fill(len(ids))
        at: list[int | None] = []
        used = 0
        for one in ids:
            matches = used < len(self._ids) and self._ids[used] == one
            at.append(used if matches else None)
            used += matches
        found = self._waiting.take(pa.array(at, pa.int64())).combine_chunks()
        self._waiting, self._ids = self._waiting.slice(used), self._ids[used:]
        return found

    def _fill(self, rows: int) -> None:
        """Read on until so many rows are waiting, or all that are left."""
        while len(self._ids) < rows and (batch := next(self._batches, None)) is not None:
            self._ids += batch.column(self._id).to_pylist()
            self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([batch])]).combine_chunks()
