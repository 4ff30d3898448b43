"""The endpoint's Retry-After, visible to every sender at once, whichever process it is in."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress

_BYTES = 8


class Pause:
    """The moment before which nothing is sent, in monotonic seconds, which all processes of a machine share.

    Each of several servers has a pause of its own, by its number.
    """

    def __init__(self, servers: int = 1) -> None:
        self._cells = memoryview(bytearray(_BYTES * servers)).cast("d")

    @property
    def until(self) -> float:
        """When the first server's pause is over; a moment in the past if there is none."""
        return min(self._cells)

    def of(self, server: int) -> float:
        """Return when the pause of one server is over."""
        return self._cells[server]

    def extend(self, until: float, server: int | None = None) -> None:
        """Pause one server until then, or all of them, unless a longer pause is set."""
        for number in range(len(self._cells)) if server is None else (server,):
            self._cells[number] = max(self._cells[number], until)

    def left(self, now: float) -> tuple[float, ...]:
        """Return for how many more seconds each server is paused; negative if its pause is over."""
        return tuple(until - now for until in self._cells)

    def share(self) -> int:
        """Move the pause to shared memory, and return the file descriptor by which other processes `join` it.

        Raises OSError.
        """
        number = _nameless_file()
        os.truncate(number, self._cells.nbytes)
        self._move(number)
        return number

    @classmethod
    def join(cls, number: int) -> Pause:
        """Return the pause behind a descriptor from `share`, in another process. Raises OSError."""
        pause = cls(os.fstat(number).st_size // _BYTES)
        pause._move(number)
        return pause

    def _move(self, number: int) -> None:
        before = self._cells
        self._cells = memoryview(mmap.mmap(number, before.nbytes)).cast("d")
        for server, until in enumerate(before):
            self.extend(until, server)


def _nameless_file() -> int:
    """Return an open file that is only in memory if the system has such files, so that no temporary directory is
    needed.
    """
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # not permitted here
            return os.memfd_create("pause")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
