"""An input of which only some rows count: those that are chosen, by a condition or as a part of a whole."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InvalidJob
from pipeline.sources.chunks import pick
from pipeline.sources.places import Place

if TYPE_CHECKING:
    from pipeline.sources.source import Source


class ChosenRows:
    """A source without the rows that `judge` leaves out; positions count the others.

    `judge` yields for each row of a batch whether it counts. Each row is judged once; after that its position in the
    source is remembered, in 8 bytes. Raises InvalidJob, with the row's place, where `judge` raises one.
    """

    def __init__(self, source: Source, judge: Callable[[pa.RecordBatch], Iterator[bool]]) -> None:
        self.schema = source.schema
        self.files = source.files
        self.source = source
        self._judge = judge
        self._kept = array("q")
        self._judged = 0
        self._lock = threading.Lock()

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows from position `start` on; never an empty batch. Raises as the source does."""
        with self._lock:
            at, skip = (self._kept[start], 0) if start < len(self._kept) else (self._judged, start - len(self._kept))
        for batch in self.source.batches(at):
            offsets = self._offsets(at, batch)
            at += batch.num_rows
            skipped = min(skip, len(offsets))
            skip -= skipped
            if skipped < len(offsets):
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
        offsets = [index for index, counts in enumerate(self._judged_rows(at, batch)) if counts]
        with self._lock:
            if at <= self._judged < stop:
                self._kept.extend(at + index for index in offsets if at + index >= self._judged)
                self._judged = stop
        return np.array(offsets, np.int64)

    def _judged_rows(self, position: int, batch: pa.RecordBatch) -> Iterator[bool]:
        try:
            for counts in self._judge(batch):
                yield counts
                position += 1
        except InvalidJob as error:
            (mistake,) = error.mistakes
            raise self.source.place(position).error(
                mistake.message, mistake.suggestion, key=mistake.key or ""
            ) from None
