"""Rows of an output, joined with the input: the texts first, then the columns made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from pipeline.plan import Rows
from pipeline.sink.answers import ERROR, as_answer
from pipeline.sink.columns import cell_columns, result_columns, result_fields, with_shared
from pipeline.sources import pick, taken, written_column


class Joined(Struct, frozen=True):
    """Some rows of an output: `rows` in its columns, the input row of each, and their positions."""

    rows: pa.RecordBatch
    asked: pa.RecordBatch
    positions: npt.NDArray[np.int64]


class Unbuilt(Struct, frozen=True):
    """Rows of an output before their columns are made, which needs neither the journal nor the plan, and hardly the
    interpreter.
    """

    rows: Rows
    schema: pa.Schema
    batch: pa.RecordBatch
    first: int
    skipped: int
    finished: npt.NDArray[np.int64]
    answered: npt.NDArray[np.bool_]
    known: Mapping[str, pa.Array]
    texts: Sequence[bytes]
    shared_from: Mapping[int, str]

    @property
    def size(self) -> int:
        """How many bytes the rows take, about."""
        of_input: int = self.batch.nbytes * len(self.finished) // max(1, self.batch.num_rows)
        return sum(map(len, self.texts)) + of_input

    def _lines(self) -> bytes:
        """Return the records as lines of JSON."""
        whole = b"\n".join(self.texts)
        if ERROR not in whole or not self.answered.any():
            return whole
        pairs = zip(self.texts, self.answered.tolist(), strict=True)
        return b"\n".join([as_answer(text) if answered and ERROR in text else text for text, answered in pairs])

    def build(self) -> Joined:
        """Make the columns."""
        rows, schema, fields = self.rows, self.schema, fields_of(self.rows)
        batch = _behind(self.batch, (self.finished + self.skipped) // rows.cells)
        carried = [written_column(batch, schema.field(at)) for at in range(len(schema) - len(fields))]
        columns = result_columns(
            self._lines(), self.known, rows.expected, has_replies=rows.has_replies, shares=rows.shares
        )
        if rows.deduplicate:
            columns = with_shared(columns, [self.shared_from.get(index) for index in range(len(self.texts))])
        if rows.has_variants or rows.samples is not None:
            variants, samples = np.divmod((self.finished + self.first) % rows.cells, rows.samples or 1)
            columns |= cell_columns([rows.variants[one].name for one in variants.tolist()], samples)
        made = pa.RecordBatch.from_arrays([*carried, *(columns[field.name] for field in fields)], schema=schema)
        return Joined(made, batch, self.finished + self.first)


def fields_of(rows: Rows) -> list[pa.Field]:
    """Return the columns that an output of these rows adds to its input's, without a prefix."""
    return result_fields(
        has_variants=rows.has_variants,
        has_samples=rows.samples is not None,
        expected=rows.expected,
        has_replies=rows.has_replies,
        shares=rows.shares,
    )


def _behind(batch: pa.RecordBatch, offsets: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return the input rows at ascending offsets, each as often as it is named."""
    is_repeated = np.any(offsets[1:] == offsets[:-1])
    return taken(batch, offsets) if is_repeated else pick(batch, offsets)
