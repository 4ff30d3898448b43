"""The interpreter's collector of cycles, in the processes of a run."""

from __future__ import annotations

import gc

_OBJECTS = 20_000


def look_for_few() -> None:
    """Let the collector look for cycles once there are 20,000 objects more than before.

    Rows and requests make many objects, and no cycles. By default the collector looks through them every few dozen
    rows, in vain.
    """
    gc.set_threshold(_OBJECTS)
