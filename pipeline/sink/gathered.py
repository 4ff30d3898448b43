"""The rows of an output from several checkpoints: the results of a job's shards, in the order of the whole input."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from pipeline.plan import Rows
from pipeline.sink.joined import Joined, fields_of
from pipeline.sink.results import Joining, Results
from pipeline.sources import pick, shard_numbers, taken

_MOST_ROWS = 512
"""Input rows that are put in order together: each shard joins its part of them by itself."""
_BYTES = 8 * 2**20
"""What these rows come to, by the ones before."""

_Slice = tuple[int, pa.RecordBatch, pa.RecordBatch, npt.NDArray[np.int64]]
"""The position of the first row that some input rows make, these input rows, the results of those with an outcome, and
which they are, from that position on.
"""


class GatheredResults(Struct, frozen=True):
    """The results of all shards, the first shard's first; None for one that was not run. `rows` are those of the whole
    job.
    """

    rows: Rows
    parts: tuple[Results | None, ...]
    checkpoint_id: str

    @property
    def schema(self) -> pa.Schema:
        """The output's schema, which is that of each shard's."""
        return self.known[0].schema

    @property
    def prefix(self) -> str:
        """What stands before the names of the result columns."""
        return self.known[0].prefix

    @property
    def fields(self) -> list[pa.Field]:
        """The result columns, without the prefix."""
        return fields_of(self.rows)

    @property
    def known(self) -> list[Results]:
        """The results of the shards that were run."""
        return [part for part in self.parts if part is not None]

    @property
    def count(self) -> int:
        """How many rows the shards' plans have."""
        return sum(part.count for part in self.known)

    def order(self) -> str:
        """Return a digest of the shards of the input's rows, in their order, which no shard's plan knows. Reads the
        input, and raises as its source does.
        """
        crc = 0
        for _, batch in self.rows.batches():
            crc = zlib.crc32(shard_numbers(batch, len(self.parts), self.rows.id_columns).data, crc)
        return f"{crc:08x}"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield every row that has an outcome, in input order. Raises as `joined` does."""
        for _, _, ordered, _ in self._slices():
            yield ordered

    def joined(self) -> Iterator[Joined]:
        """Yield every row that has an outcome, in input order, with its input row.

        Raises:
            InvalidInput: the input has changed since the plans were made.
            CheckpointFailed: a journal is damaged.
        """
        for first, asked, ordered, places in self._slices():
            yield Joined(ordered, pick(asked, places // self.rows.cells), first + places)

    def _slices(self) -> Iterator[_Slice]:
        joinings = [None if part is None else part.joining() for part in self.parts]
        read, rows = [0] * len(self.parts), _MOST_ROWS
        for first, batch in self.rows.batches():
            numbers = shard_numbers(batch, len(self.parts), self.rows.id_columns)
            start = 0
            while start < batch.num_rows:
                stop = start + rows
                asked = batch.slice(start, rows)
                ordered, places = self._ordered(asked, numbers[start:stop], joinings, read)
                yield first + start * self.rows.cells, asked, ordered, places
                rows = min(_MOST_ROWS, max(1, rows * _BYTES // max(1, ordered.nbytes)))
                start = stop
        for joining in filter(None, joinings):
            joining.finish()

    def _ordered(
        self, batch: pa.RecordBatch, numbers: npt.NDArray[np.int64], joinings: list[Joining | None], read: list[int]
    ) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """Return the results of some input rows, given the shard of each, and which of the rows that these make have
        one; `read` counts each shard's rows so far.
        """
        cells = self.rows.cells
        found: list[pa.RecordBatch] = []
        places: list[npt.NDArray[np.int64]] = []
        for part in np.unique(numbers) - 1:
            joining = joinings[part]
            if joining is None:
                continue
            offsets = np.flatnonzero(numbers == part + 1)
            for joined in joining.batch(read[part] * cells, pick(batch, offsets)):
                rows, cell = np.divmod(joined.positions - read[part] * cells, cells)
                found.append(joined.rows)
                places.append(offsets[rows] * cells + cell)
            read[part] += len(offsets)
        if not found:
            return pa.RecordBatch.from_pylist([], self.schema), np.empty(0, np.int64)
        together = np.concatenate(places)
        order = np.argsort(together)
        return taken(pa.concat_batches(found), order), together[order]


AnyResults = Results | GatheredResults
"""The results of a job, of one checkpoint or of all its shards together."""
