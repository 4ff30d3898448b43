"""What a format gives for each of its files: the columns, and the rows in chunks that can be skipped unread."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct, field

from pipeline.arrays import integers
from pipeline.sources.files import InputFile
from pipeline.sources.places import Place

BATCH_ROWS = 4096
BATCH_BYTES = 4 * 2**20


class Mark(NamedTuple):
    """A place in a file where reading can begin: behind so many rows, at a byte, which is the first of a line."""

    rows: int
    byte: int
    line: int


class Chunk(Struct, frozen=True):
    """Rows that follow each other in a file; to be read before the next chunk is asked for, or not at all.

    `read` gives them as batches, `place` says where the row at an index within the chunk is. `mark` is where it begins,
    for files that can be read from there on.
    """

    rows: int
    read: Callable[[], Iterator[pa.RecordBatch]]
    place: Callable[[int], Place]
    mark: Mark | None = None


class FileReader(Struct, frozen=True):
    """One opened file: `chunks` starts at its first row each time it is called, or at a mark."""

    file: InputFile
    schema: pa.Schema
    chunks: Callable[[Mark | None], Iterator[Chunk]]


class FileNotes(Struct):
    """What is known of a file whose chunks were read: how many rows it has, once that is known, and its marks so far,
    in ascending order.
    """

    rows: int | None = None
    marks: list[Mark] = field(default_factory=list)

    def mark_before(self, row: int) -> Mark | None:
        """Return the last mark at or before a row, which is counted from 0; None if there is none."""
        at = bisect_right(self.marks, row, key=lambda mark: mark.rows)
        return self.marks[at - 1] if at else None

    def add(self, mark: Mark | None) -> None:
        """Note where a chunk begins."""
        if mark is not None and (not self.marks or mark.rows > self.marks[-1].rows):
            self.marks.append(mark)


def pick(batch: pa.RecordBatch, offsets: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return the rows of a batch at ascending offsets.

    The offsets are handed over as memory: to make an array of Python's or numpy's numbers, pyarrow imports pandas.
    """
    count = len(offsets)
    if count and offsets[-1] - offsets[0] == count - 1:
        return batch.slice(offsets[0], count)
    return taken(batch, offsets)


def taken(batch: pa.RecordBatch, offsets: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return a copy of the rows of a batch at these offsets, each as often as it is named; else as `pick` does."""
    return batch.take(integers(offsets))
