"""Which storage keeps the file at a location."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.storage.interface import Storage
from pipeline.storage.local import LOCAL
from pipeline.storage.location import Location


def storage_of(path: Location) -> Storage:
    """Return the storage that keeps the file at `path`."""
    assert isinstance(path, Path)
    return LOCAL


def is_taken(path: Location) -> bool:
    """Return whether there is anything at `path`, be it a link that leads nowhere. Raises OSError."""
    return os.path.lexists(path) if isinstance(path, Path) else storage_of(path).version(path) is not None
