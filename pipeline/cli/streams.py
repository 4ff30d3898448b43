"""stdout and stderr as streams that no reader can break: a run does not end because nobody listens any more."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any

# A pipe whose reader left, and a terminal that was closed.
_NOBODY_READS = (errno.EPIPE, errno.EIO)


class _Outlet(io.FileIO):
    """A file that takes everything. What it cannot write it drops; `failure` is the first error that this hides."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # another process made the pipe or terminal non-blocking
                select.select([], [self], [])
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes
        return written


class ProtectedStdout:
    """`sys.stdout` after `protect_streams`."""

    def __init__(self, outlet: _Outlet) -> None:
        self._outlet = outlet

    def lost(self) -> OSError | None:
        """Return why text is missing on stdout; None if all is there, or if nobody reads it."""
        sys.stdout.flush()
        failure = self._outlet.failure
        return None if failure is None or failure.errno in _NOBODY_READS else failure


def protect_streams() -> ProtectedStdout:
    """Replace `sys.stdout` and `sys.stderr` for the rest of the program by streams that take everything."""
    for number in range(3):
        _occupy(number)
    stdout, stderr = _Outlet(1, "w", closefd=False), _Outlet(2, "w", closefd=False)
    sys.stdout, sys.stderr = _text(stdout, sys.stdout), _text(stderr, sys.stderr)
    return ProtectedStdout(stdout)


def _occupy(number: int) -> None:
    """Keep a stream's number from being given to the next file that is opened, such as the journal."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


def _text(outlet: _Outlet, previous: Any) -> io.TextIOWrapper:
    encoding = "utf-8" if previous is None else previous.encoding
    # What a terminal or pipe cannot show must not end a run either.
    return io.TextIOWrapper(io.BufferedWriter(outlet), encoding, errors="replace", line_buffering=True)
