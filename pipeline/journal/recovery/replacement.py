"""The replacement of a damaged checkpoint by a recovered one. A kill at any moment loses neither.

The recovered files are made in a separate directory within the checkpoint. The damaged ones are kept beside the
checkpoint. Then one rename decides. Before it, the damaged files are the checkpoint. After it, the recovered ones are
moved into place, by the next command if necessary, and nobody may read the checkpoint until that is done.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from contextlib import suppress
from glob import escape
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.journal.checks import is_count
from pipeline.journal.files import NEVER_REPLACED, RECOVERY_NAMES, own_files
from pipeline.storage import replacing, stands, sync_directory, sync_file

_DRAFT_NAME, _DECIDED_NAME, _DONE_NAME = RECOVERY_NAMES
_RESULT_NAME = "result.json"
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP)


class RecoveryResult(Struct, frozen=True):
    """The result of a recovery.

    `answers` and `others` count the records in the new journal, `lost` is the minimum number of records that are lost.
    `kept_at` is where the damaged files are, None if there were none.
    """

    answers: int
    others: int
    lost: int
    kept_at: str | None


def is_under_way(directory: Path) -> bool:
    """Return whether a recovery was decided and its files are not all in place yet."""
    return stands(directory / _DECIDED_NAME)


def begin(directory: Path) -> Path:
    """Return an empty directory for the recovered files; what an earlier try left is removed. Raises OSError."""
    abandon(directory)
    draft = directory / _DRAFT_NAME
    draft.mkdir(mode=0o700)
    return draft


def abandon(directory: Path) -> None:
    """Remove a recovery that was begun and not decided. Raises OSError."""
    for leftover in (directory / _DRAFT_NAME, directory / _DONE_NAME, _beside(directory, ".damaged.new")):
        with suppress(FileNotFoundError):
            shutil.rmtree(leftover)


def keep(directory: Path) -> Path | None:
    """Keep the files of a damaged checkpoint beside it, and return where; None if there are none.

    They are on disk on return. If an earlier try kept the same files, its directory is used again. Raises OSError.
    """
    files = _files(directory)
    if not files:
        return None
    beside = _beside(directory, ".damaged-")
    for earlier in sorted(beside.parent.glob(f"{escape(beside.name)}*")):
        if all((earlier / path.name).exists() and path.samefile(earlier / path.name) for path in files):
            return earlier
    draft = _beside(directory, ".damaged.new")
    draft.mkdir(mode=0o700)
    for path in files:
        _link(path, draft / path.name)
    sync_directory(draft)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept, number = _beside(directory, f".damaged-{stamp}"), 1
    while kept.exists():
        number += 1
        kept = _beside(directory, f".damaged-{stamp}-{number}")
    draft.rename(kept)
    sync_directory(kept.parent)
    return kept


def decide(directory: Path, result: RecoveryResult) -> None:
    """Make the recovered files the checkpoint. They are complete and on disk; `result` is stored with them.

    Raises OSError.
    """
    draft = directory / _DRAFT_NAME
    names = [path.name for path in draft.iterdir()]
    with replacing(draft / _RESULT_NAME) as file:
        file.write_text(json.dumps({**asdict(result), "files": names}), encoding="utf-8")
    sync_directory(draft)
    draft.rename(directory / _DECIDED_NAME)
    sync_directory(directory)


def finish(directory: Path) -> RecoveryResult:
    """Move the recovered files into place after `decide`, also after an interrupted try. Returns the result.

    Raises OSError, ValueError.
    """
    decided, done = directory / _DECIDED_NAME, directory / _DONE_NAME
    result, names = _result(json.loads((decided / _RESULT_NAME).read_bytes()))
    # A log of another journal would be merged into the new one.
    for path in _files(directory, with_memory=True):
        if path.name not in names:
            path.unlink()
    sync_directory(directory)
    for name in names:
        if (decided / name).exists():
            (decided / name).rename(directory / name)
    sync_directory(directory)
    decided.rename(done)
    sync_directory(directory)
    shutil.rmtree(done)
    return result


def _result(found: object) -> tuple[RecoveryResult, list[str]]:
    """Return the result of a recovery and the names of its files, as `decide` wrote them. Raises ValueError."""
    if isinstance(found, dict) and found.keys() == {"answers", "others", "lost", "kept_at", "files"}:
        names = found.pop("files")
        are_names = isinstance(names, list) and all(isinstance(name, str) and Path(name).name == name for name in names)
        if are_names and all(is_count(found[name]) for name in ("answers", "others", "lost")):
            return RecoveryResult(**found), names
    raise ValueError(f"{_RESULT_NAME} is no result of a recovery")


def _files(directory: Path, *, with_memory: bool = False) -> list[Path]:
    """Return the files of the checkpoint; SQLite's shared memory only if `with_memory`."""
    return sorted(
        path
        for path in own_files(directory)
        if path.name not in NEVER_REPLACED and (with_memory or not path.name.endswith("-shm"))
    )


def _beside(directory: Path, ending: str) -> Path:
    # "." and ".." have no name.
    named = directory if directory.name not in ("", "..") else Path(os.path.abspath(directory))
    return named.with_name(named.name + ending)


def _link(path: Path, kept: Path) -> None:
    """Give the file a second name, or copy it if the file system has no hard links.

    It is on disk on return: what the program wrote before it was killed may be in memory only.
    """
    try:
        os.link(path, kept)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(path, kept)
        kept.chmod(0o600)
    sync_file(kept)
