"""The files in a checkpoint directory that belong to the checkpoint: `clean` removes them, `recover` replaces them."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.journal.count import FILE_NAME as COUNT_NAME
from pipeline.journal.lock import FILE_NAME as LOCK_NAME
from pipeline.journal.orders import ORDER_NAME, REPLIES_NAME
from pipeline.journal.progress import FILE_NAME as PROGRESS_NAME
from pipeline.storage import UPLOADS_NAME

DATABASE_NAME = "journal.sqlite"
LOG_NAME = f"{DATABASE_NAME}-wal"
EXPORTS_NAME = "exports.json"
PLAN_NAME = "plan"
RESTORED_NAME = "restored.json"
PLANNING_NAME = "planning.sqlite"
KEYS_NAME = "planning.keys"
RECOVERY_NAMES = ("recovery.new", "recovery", "recovery.done")
"""Directories of a recovery: being made, decided, in place."""
SCRATCH_PREFIX = ".pipeline-scratch-"
"""What the names of scratch directories begin with, in a checkpoint and elsewhere."""

# Disposable files first, the count last: what an interrupted removal leaves is refused, never trusted.
_NAMES = (
    PLANNING_NAME,
    KEYS_NAME,
    EXPORTS_NAME,
    RESTORED_NAME,
    ORDER_NAME,
    REPLIES_NAME,
    PROGRESS_NAME,
    PLAN_NAME,
    f"{DATABASE_NAME}-shm",
    LOG_NAME,
    DATABASE_NAME,
    COUNT_NAME,
    LOCK_NAME,
)
_OWN = (f"{DATABASE_NAME}.new-journal", *(own for name in _NAMES for own in (f"{name}.new", name)))
NEVER_REPLACED = frozenset({LOCK_NAME, EXPORTS_NAME, ORDER_NAME, REPLIES_NAME})
"""Files that stand for no part of the journal; a recovery leaves them alone."""


def own_files(directory: Path) -> list[Path]:
    """Return the checkpoint's own files that exist, in the order in which they may be removed."""
    return [path for path in (directory / name for name in _OWN) if path.is_file() and not path.is_symlink()]


def foreign_names(directory: Path) -> list[str]:
    """Return the names of everything else in the directory, sorted. Raises OSError."""
    own = {path.name for path in own_files(directory)}
    own |= {path.name for path in _own_directories(directory)}
    return sorted(path.name for path in directory.iterdir() if path.name not in own)


def remove_own(directory: Path) -> None:
    """Remove the checkpoint's own files, and its directory once that is empty. Raises OSError."""
    for path in _own_directories(directory):
        shutil.rmtree(path)
    for path in own_files(directory):
        path.unlink()
    if not directory.is_symlink() and not any(directory.iterdir()):
        directory.rmdir()


def is_own_directory(path: Path) -> bool:
    """Return whether a directory within a checkpoint belongs to the checkpoint."""
    is_named = path.name in (*RECOVERY_NAMES, UPLOADS_NAME) or path.name.startswith(SCRATCH_PREFIX)
    return is_named and path.is_dir() and not path.is_symlink()


def _own_directories(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if is_own_directory(path)]
