"""Copies of rows that were read once, so that their input need not be gone through again for them."""

from __future__ import annotations

import os
import weakref
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import pyarrow as pa

from pipeline.errors import CheckpointFailed
from pipeline.storage.nameless import nameless_file, write_at

_MOST_BYTES = 2**30
_LEFT_FREE = 2**30


class RowCopies:
    """The first rows of a source, batch by batch, in a file without a name in or above `directory`.

    There may be copies of only some of the first rows, or of none: they end at a gigabyte, or where the disk has less
    than that left.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None
        self._ends = [0]
        """Where each batch ends in the file, after the start of the first one; the same in rows."""
        self._rows = [0]
        self._is_full = False
        self._lock = Lock()

    def add(self, first: int, batch: pa.RecordBatch) -> None:
        """Copy rows, the first of which is at a position, if they are the next ones and there is room."""
        with self._lock:
            if self._is_full or first != self._rows[-1]:
                return
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            data = memoryview(sink.getvalue())
            end = self._ends[-1] + len(data)
            try:
                self._is_full = end > _MOST_BYTES or not self._write(data)
            except OSError:
                self._is_full = True
            if not self._is_full:
                self._ends.append(end)
                self._rows.append(self._rows[-1] + batch.num_rows)

    def batches(self, start: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows from position `start` on, as far as there are copies. Raises CheckpointFailed where the disk
        fails.
        """
        at = bisect_right(self._rows, start) - 1
        while at < len(self._rows) - 1:
            batch = self._read(self._ends[at], self._ends[at + 1])
            yield batch.slice(max(0, start - self._rows[at]))
            at += 1

    def _write(self, data: memoryview) -> bool:
        """Append to the file. Returns whether there was room."""
        if self._file is None:
            self._file = nameless_file(self._directory)
            weakref.finalize(self, os.close, self._file)
        disk = os.fstatvfs(self._file)
        if disk.f_bavail * disk.f_frsize < _LEFT_FREE:
            return False
        write_at(self._file, data, self._ends[-1])
        return True

    def _read(self, start: int, end: int) -> pa.RecordBatch:
        assert self._file is not None
        try:
            data = os.pread(self._file, end - start, start)
        except OSError as error:
            raise CheckpointFailed(f"{self._directory}: the copies of input rows cannot be read: {error}") from error
        if len(data) < end - start:
            raise CheckpointFailed(f"{self._directory}: the copies of input rows end too early")
        return pa.ipc.open_stream(pa.py_buffer(data)).read_next_batch()
