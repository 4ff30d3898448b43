"""A local file, complete or not at all: written beside its place, synced, renamed, and its name synced."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path


@contextmanager
def replacing(
    path: Path,
    *,
    draft: Path | None = None,
    private: bool = False,
    durable: bool = True,
    before: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Give an empty file to write to; when the block ends, it takes the place of `path`.

    Where the block fails, or any step up to the renaming, the file is removed and `path` is as it was.

    Args:
        draft: where the file is written, in the directory of `path`; by default its name with `.new`.
        private: only the owner may read it.
        durable: have the content on disk before the renaming, and the name after it. Without it a power cut may leave
            the file as it was before, or empty.
        before: called with the complete file right before the renaming, while no other program of this kind puts a
            file into the directory; what it raises keeps the file from its place.

    Raises:
        OSError: a step failed.
    """
    draft = draft or path.with_name(f"{path.name}.new")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666))
        yield draft
        if durable:
            sync_file(draft)
        with _alone_in(path.parent) if before else nullcontext():
            if before:
                before(draft)
            draft.rename(path)
        if durable:
            sync_path(path.parent)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def sync_file(path: Path) -> None:
    """Put a file's content on disk. Raises OSError."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_directory(directory: Path) -> None:
    """Put a directory's entries on disk. Raises OSError."""
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_path(directory: Path) -> None:
    """Put a directory's entries on disk, and its own in those above it, any of which may be new. Raises OSError."""
    directory = directory.absolute()
    sync_directory(directory)
    for parent in directory.parents:
        if parent.stat().st_dev != directory.stat().st_dev:
            break  # a mount point was there before
        with suppress(PermissionError):  # and so was a directory that may not be read
            sync_directory(parent)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other jobs from putting a file here between the check of the path and the rename."""
    file = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no such lock
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
