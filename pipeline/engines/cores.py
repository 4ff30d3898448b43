"""Core dumps, which would contain the key."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress

# https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
_PR_SET_DUMPABLE = 4


def write_no_core() -> None:
    """Disable core dumps of this process: its memory holds the key and the prompts.

    The limit on core files has no effect if the system pipes cores to a collector. On Linux the process is therefore
    also marked as not dumpable. Other processes, even the user's own, then cannot read its memory either.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    with suppress(AttributeError, OSError):  # another system, or another C library
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
