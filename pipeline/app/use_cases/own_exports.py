"""Which files the exports of a job have written: kept beside its journal, so that the next export may replace them."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.journal.checks import is_count
from pipeline.journal.files import EXPORTS_NAME
from pipeline.journal.json_file import read_json, write_json

_MOST_BYTES = 2**20


def is_own_export(directory: Path, path: Path) -> bool:
    """Return whether the file at `path` is, untouched, what an export of this checkpoint's job wrote there."""
    try:
        return _read(directory).get(_key(path)) == _facts(path.lstat())
    except OSError:
        return False


def record_export(directory: Path, draft: Path, path: Path) -> None:
    """Record that the complete file at `draft` is about to become the export at `path`. Raises OSError."""
    known = {**_read(directory), _key(path): _facts(draft.stat())}
    write_json(directory / EXPORTS_NAME, known)


def is_own_folder(directory: Path, path: Path) -> bool:
    """Return whether every file below `path` is, untouched, what an export of this checkpoint's job wrote there."""
    known = _read(directory)
    try:
        return all(known.get(_key(file)) == _facts(file.lstat()) for file in path.rglob("*") if not file.is_dir())
    except OSError:
        return False


def record_folder(directory: Path, draft: Path, path: Path) -> None:
    """Record that the complete files below `draft` are about to become those below `path`. Raises OSError."""
    files = {_key(path / file.relative_to(draft)): file for file in draft.rglob("*") if not file.is_dir()}
    inside = str(Path(os.path.realpath(path.parent), path.name)) + os.sep
    known = {key: facts for key, facts in _read(directory).items() if not key.startswith(inside)}
    write_json(directory / EXPORTS_NAME, {**known, **{key: _facts(file.stat()) for key, file in files.items()}})


def _facts(found: os.stat_result) -> list[int]:
    """Return what tells a file from one that has replaced it or was edited since."""
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _key(path: Path) -> str:
    return str(Path(os.path.realpath(path.parent), path.name))


def _read(directory: Path) -> dict[str, list[int]]:
    """Return what was recorded; what is damaged there counts as not recorded."""
    found = read_json(directory / EXPORTS_NAME, _MOST_BYTES)
    return {key: facts for key, facts in found.items() if isinstance(facts, list) and all(map(is_count, facts))}
