"""What was read of an object, kept on this machine while it is in use, so that each part is fetched once."""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.errors import CheckpointFailed
from pipeline.storage.nameless import nameless_file, write_at

BLOCK_BYTES = 4 * 2**20


class Spool:
    """One version of an object as a file of `size` bytes that is fetched block by block.

    The blocks go into a file without a name, which is gone with the process: in `directory` or the nearest one above
    it that exists, or where the system keeps temporary files if that cannot be written to. `fetch` returns the bytes
    from a position on, so many as are asked for.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, directory: Path) -> None:
        self.size = size
        self._fetch = fetch
        self._directory = directory
        self._file: int | None = None
        self._has: set[int] = set()
        self._lock = Lock()

    def open(self) -> io.BufferedReader:
        """Return a reader that begins at the start."""
        return io.BufferedReader(_Reader(self), 2**16)

    def read(self, start: int, length: int) -> bytes:
        """Return the bytes from a position on, as many as are asked for, fewer before the end of a block or file.

        Raises what fetching raises, and CheckpointFailed where the disk fails.
        """
        block = start // BLOCK_BYTES
        length = min(length, self.size - start, (block + 1) * BLOCK_BYTES - start)
        if length <= 0:
            return b""
        with self._lock:
            try:
                if self._file is None:
                    self._file = nameless_file(self._directory)
                    weakref.finalize(self, os.close, self._file)
                if block not in self._has:
                    begin = block * BLOCK_BYTES
                    data = self._fetch(begin, min(BLOCK_BYTES, self.size - begin))
                    write_at(self._file, data, begin)
                    self._has.add(block)
                return os.pread(self._file, length, start)
            except OSError as error:
                message = f"{self._directory}: no place for what is read from the store: {error.strerror}"
                raise CheckpointFailed(message) from error


class _Reader(io.RawIOBase):
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._spool.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._spool.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
