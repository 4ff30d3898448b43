"""An input of which only some rows count: those that are chosen, by a condition or as a part of a whole."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import Mistake
from pipeline.sources.chunks import BATCH_BYTES, BATCH_ROWS, pick
from pipeline.sources.copies import RowCopies
from pipeline.sources.files import is_touched
from pipeline.sources.places import Place

if TYPE_CHECKING:
    from pipeline.sources.source import Source

# What few rows are left of batches becomes one batch, since each takes some time however few rows it has; but the first
# rows are not kept waiting for long.
_ENOUGH_ROWS = 1024
_MOST_BATCHES = 16


class Undecided(Exception):
    """It cannot be said whether a row counts, the one at an index of a batch, because of a mistake."""

    def __init__(self, index: int, mistake: Mistake) -> None:
        super().__init__(mistake.message)
        self.index, self.mistake = index, mistake


class ChosenRows:
    """A source without the rows that `judge` leaves out; positions count the others.

    `judge` returns for each row of a batch whether it counts. Each row is judged once; after that its position in the
    source is remembered, in 8 bytes. Raises InvalidJob, with the row's place, where `judge` raises Undecided.

    Rows that are in `copies` are not read again while their files are as they were.
    """

    def __init__(
        self,
        source: Source,
        judge: Callable[[pa.RecordBatch], npt.NDArray[np.bool_]],
        copies: RowCopies | None = None,
    ) -> None:
        self.schema = source.schema
        self.files = source.files
        self.source = source
        self._judge = judge
        self._copies = copies
        self._kept = array("q")
        self._judged = 0
        self._lock = threading.Lock()

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows from position `start` on; never an empty batch. Raises as the source does."""
        if self._copies is not None and not any(map(is_touched, self.files)):
            for batch in self._copies.batches(start):
                start += batch.num_rows
                yield batch
        for batch in _together(self._chosen(start)):
            if self._copies is not None:
                self._copies.add(start, batch)
            start += batch.num_rows
            yield batch

    def _chosen(self, start: int) -> Iterator[pa.RecordBatch]:
        """Yield what is left of each of the source's batches."""
        with self._lock:
            at, skip = (self._kept[start], 0) if start < len(self._kept) else (self._judged, start - len(self._kept))
        for batch in self.source.batches(at):
            offsets = self._offsets(at, batch)
            at += batch.num_rows
            skipped = min(skip, len(offsets))
            skip -= skipped
            yield pick(batch, offsets[skipped:])

    def place(self, position: int) -> Place:
        """Return where the row at a position is. Raises IndexError if there is no such row."""
        for batch in self.batches() if position >= len(self._kept) else ():
            del batch
        return self.source.place(self._kept[position])

    def _offsets(self, at: int, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """Return the rows of a batch that count; `at` is the position of its first one in the source."""
        stop = at + batch.num_rows
        with self._lock:
            if stop <= self._judged:
                first, last = bisect_left(self._kept, at), bisect_left(self._kept, stop)
                return np.array(self._kept[first:last], np.int64) - at
        try:
            offsets = np.flatnonzero(self._judge(batch))
        except Undecided as error:
            mistake = error.mistake
            place = self.source.place(at + error.index)
            raise place.error(mistake.message, mistake.suggestion, key=mistake.key or "") from None
        with self._lock:
            if at <= self._judged < stop:
                self._kept.frombytes((offsets[offsets >= self._judged - at] + at).tobytes())
                self._judged = stop
        return offsets


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows, those of small batches together where their columns are the same; never an empty batch."""
    waiting: list[pa.RecordBatch] = []
    seen = rows = size = 0
    for batch in batches:
        is_enough = rows + batch.num_rows > BATCH_ROWS or size + batch.nbytes > BATCH_BYTES
        if waiting and (is_enough or not batch.schema.equals(waiting[0].schema, check_metadata=True)):
            yield _one(waiting)
            waiting, seen, rows, size = [], 0, 0, 0
        if batch.num_rows:
            waiting.append(batch)
        seen, rows, size = seen + 1, rows + batch.num_rows, size + batch.nbytes
        if waiting and (rows >= _ENOUGH_ROWS or seen >= _MOST_BATCHES):
            yield _one(waiting)
            waiting, seen, rows, size = [], 0, 0, 0
    if waiting:
        yield _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]
