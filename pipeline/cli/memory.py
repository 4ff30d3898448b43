"""How the libraries below take memory and cores, set so that little is kept of what was freed."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

# https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 512 * 1024


def keep_little() -> None:
    """Call this before pyarrow and numpy are imported.

    Arrow's own allocator keeps tens of megabytes. That of glibc stops returning large blocks once it has freed some,
    unless it is told at what size to begin: a run of a million rows then grows by 40 MB. What the environment says
    otherwise stands; other C libraries have nothing to be set.

    numpy's OpenBLAS starts a thread for each core, which costs a tenth of a second; nothing here multiplies matrices.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
