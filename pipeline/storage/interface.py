"""What the program needs of a place that keeps files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline.storage.location import Location


class Version(NamedTuple):
    """What distinguishes a file from an earlier one at its path: its size in bytes, and a mark that each write changes.

    The mark of a local file is the time at which it was written, in nanoseconds; that of an object is what its store
    calls the version.
    """

    size: int
    mark: int | str


class Storage(Protocol):
    """A place that keeps files; `storage_of` gives the one of a location. Whatever fails raises OSError."""

    def version(self, path: Location) -> Version | None:
        """Return the version of the file at `path`; None where there is none."""

    def open(self, path: Location) -> BufferedReader:
        """Open the file at `path` for reading at any position."""

    def names(self, directory: Location) -> list[str]:
        """Return the names of what is directly in a directory; none where there is no directory."""

    def publish(
        self, path: Location, owner: str, before: Callable[[Path], None] | None = None, *, beside: bool = False
    ) -> AbstractContextManager[Path]:
        """Give a local file to write to; when the block ends, it takes the place of `path`, complete and durable.

        Where the block fails, or any step after it, `path` is as it was.

        Args:
            owner: a word that keeps apart those who may publish at one path.
            before: called with the complete file right before it takes its place; what it raises keeps it from that.
            beside: the file is never in the directory of `path` before it is complete. Several may be under way.
        """

    def discard(self, path: Location, owner: str) -> None:
        """Remove what an owner's killed `publish` has left for `path`, or for files in the directory `path`."""

    def remove(self, path: Location) -> None:
        """Remove the file at `path`, if there is one."""
