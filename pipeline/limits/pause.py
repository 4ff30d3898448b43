"""The endpoint's Retry-After, seen by every sender at once, whichever process it is in."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress

_BYTES = 8


class Pause:
    """Nothing is sent before `until`, in monotonic seconds, which all processes of a machine count alike."""

    def __init__(self) -> None:
        self._cell = memoryview(bytearray(_BYTES)).cast("d")

    @property
    def until(self) -> float:
        """When the pause is over; a moment of the past where there is none."""
        return self._cell[0]

    def extend(self, until: float) -> None:
        """Pause until then, unless a longer pause stands."""
        self._cell[0] = max(self._cell[0], until)

    def share(self) -> int:
        """Move the pause to memory that other processes can `join`, by the file descriptor that this returns.

        Raises OSError.
        """
        number = _nameless_file()
        os.truncate(number, _BYTES)
        self._move(number)
        return number

    @classmethod
    def join(cls, number: int) -> Pause:
        """The pause behind a descriptor from `share`, in another process. Raises OSError."""
        pause = cls()
        pause._move(number)
        return pause

    def _move(self, number: int) -> None:
        until = self.until
        self._cell = memoryview(mmap.mmap(number, _BYTES)).cast("d")
        self.extend(until)


def _nameless_file() -> int:
    """A file in memory alone where the system has such, so that no directory for temporary files is needed."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # not allowed here
            return os.memfd_create("pause")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
