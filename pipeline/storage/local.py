"""The file system of this machine as a storage."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from pipeline.storage.atomic import replacing
from pipeline.storage.interface import Storage, Version


class _Local:
    """See Storage. Directories that are missing are made."""

    def version(self, path: Path) -> Version | None:
        """Return the version of the file at `path`; None where there is none."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return Version(found.st_size, found.st_mtime_ns)

    def open(self, path: Path) -> BinaryIO:
        """Open the file at `path` for reading at any position."""
        return path.open("rb")

    def publish(
        self, path: Path, owner: str, before: Callable[[Path], None] | None = None
    ) -> AbstractContextManager[Path]:
        """Give a file in the same directory to write to; when the block ends, it takes the place of `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return replacing(path, draft=draft_path(path, owner), before=before)


LOCAL: Storage = _Local()
"""Where job files, inputs, outputs and checkpoints are."""


def draft_path(path: Path, owner: str) -> Path:
    """Return where the file for `path` is written first: each owner has a place of its own, so that no two meet."""
    return path.with_name(f".{path.name}.{owner}.writing")
