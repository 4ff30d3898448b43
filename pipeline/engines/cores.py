"""No core file of a process that holds the key."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress

# https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
_PR_SET_DUMPABLE = 4


def write_no_core() -> None:
    """Keep this process from being dumped to a core file, whose memory would show the key and the prompts.

    The limit on core files does not hold where the system pipes cores to a collector. On Linux the process is also
    marked as one that is never dumped; other users' processes, and the user's own, can then not read its memory either.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    with suppress(AttributeError, OSError):  # another system, or another C library
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
