"""A place for what is worked out and then thrown away."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.app.jobs.disk import nearest_existing
from pipeline.errors import CheckpointFailed
from pipeline.journal.files import SCRATCH_PREFIX


@contextmanager
def scratch(checkpoint: Path) -> Iterator[Path]:
    """Give a directory that nobody else can read, for as long as something is worked out: where the system keeps
    temporary files, or, where that cannot be written to, beside the checkpoint.

    Raises CheckpointFailed where none can be made.
    """
    remove_leftovers(checkpoint)
    with scratch_in(*_places(checkpoint)) as path:
        yield path


@contextmanager
def scratch_in(*places: Path) -> Iterator[Path]:
    """Give such a directory in the first of these places that can be written to. Raises CheckpointFailed."""
    path, lock = _make(places)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_leftovers(checkpoint: Path) -> None:
    """Remove scratch directories of commands that were killed: those of this user whose lock nobody holds."""
    for place in _places(checkpoint):
        with suppress(OSError), os.scandir(place) as found:
            leftovers = [entry.path for entry in found if entry.name.startswith(SCRATCH_PREFIX)]
            for path in leftovers:
                _remove_leftover(path)


def _places(checkpoint: Path) -> list[Path]:
    """Return where scratch directories may be, the best place first. The checkpoint's own directory comes last: it may
    be the only one that can be written to, a volume of its own.
    """
    places = []
    with suppress(FileNotFoundError):  # of all usual directories, none can be written to
        places.append(Path(tempfile.gettempdir()))
    return [*places, nearest_existing(checkpoint.absolute().parent), nearest_existing(checkpoint)]


def _make(places: Sequence[Path]) -> tuple[Path, int]:
    """Make a directory, and hold its lock, by which others know that it is in use. Returns the lock's file number."""
    reason = None
    for place in places:
        try:
            while True:
                path = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=place))
                # Another command may take it for a leftover before it is locked.
                with suppress(FileNotFoundError):
                    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                    with suppress(OSError):  # a file system without locks, where nothing is taken for a leftover
                        fcntl.flock(lock, fcntl.LOCK_EX)
                    if path.exists():
                        return path, lock
                    os.close(lock)
        except OSError as error:
            reason = error.strerror
    named = " or ".join(dict.fromkeys(str(place) for place in places))
    raise CheckpointFailed(f"no scratch directory can be made in {named} (TMPDIR names another place): {reason}")


def _remove_leftover(path: str) -> None:
    with suppress(OSError):
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
