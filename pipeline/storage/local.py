"""The file system of this machine as a storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from glob import escape
from io import BufferedReader
from pathlib import Path

from pipeline.storage.atomic import replacing
from pipeline.storage.interface import Storage, Version
from pipeline.storage.location import Location


class _Local:
    """See Storage. Directories that are missing are made."""

    def version(self, path: Location) -> Version | None:
        """Return the version of the file at `path`; None where there is none."""
        try:
            found = _local(path).stat()
        except FileNotFoundError:
            return None
        return Version(found.st_size, found.st_mtime_ns)

    def open(self, path: Location) -> BufferedReader:
        """Open the file at `path` for reading at any position."""
        return _local(path).open("rb")

    def names(self, directory: Location) -> list[str]:
        """Return the names of what is directly in a directory; none where there is no directory."""
        try:
            return os.listdir(_local(directory))
        except FileNotFoundError:
            return []

    def publish(
        self, path: Location, owner: str, before: Callable[[Path], None] | None = None, *, beside: bool = False
    ) -> AbstractContextManager[Path]:
        """Give a file in the same directory, or beside that, to write to; when the block ends, it takes the place of
        `path`, or of what a link there leads to.
        """
        path = _local(path) if beside else led_to(_local(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        return replacing(path, draft=draft_path(path, owner, beside=beside), before=before)

    def discard(self, path: Location, owner: str) -> None:
        """Remove what an owner's killed `publish` has left for `path`, or for files in the directory `path`."""
        path = _local(path)
        inside = draft_path(Path(escape(path.name), "*"), owner, beside=True).name
        for draft in (draft_path(led_to(path), owner), *path.parent.glob(inside)):
            draft.unlink(missing_ok=True)

    def remove(self, path: Location) -> None:
        """Remove the file at `path`, if there is one: a link and what it leads to."""
        for one in (led_to(_local(path)), _local(path)):
            one.unlink(missing_ok=True)


LOCAL: Storage = _Local()
"""Where job files and checkpoints are, and inputs and outputs whose paths name no store."""


def stands(path: Path) -> bool:
    """Return whether there is anything at a path; not where nobody may look. Raises OSError."""
    try:
        return path.exists()
    except PermissionError:
        return False


def led_to(path: Path) -> Path:
    """Return the place that a symbolic link leads to, whether anything is there or not; of anything else its own path.

    Raises OSError where links lead in a circle.
    """
    if not path.is_symlink():
        return path
    with suppress(FileNotFoundError):
        path.stat()
    return Path(os.path.realpath(path))


def draft_path(path: Path, owner: str, *, beside: bool = False) -> Path:
    """Return where the file for `path` is written first, in its directory or beside that: each owner has a place of
    its own, so that no two meet.
    """
    if beside:
        return path.parent.with_name(f".{path.parent.name}+{path.name}.{owner}.writing")
    return path.with_name(f".{path.name}.{owner}.writing")


def _local(path: Location) -> Path:
    assert isinstance(path, Path)
    return path
