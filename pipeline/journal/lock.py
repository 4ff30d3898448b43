"""One run of a job at a time: an advisory lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.errors import CheckpointFailed, JobLocked
from pipeline.journal.checks import is_count, is_moment, is_text

FILE_NAME = "lock"
_MAX_BYTES = 4096
_PATIENCE_SECONDS = 0.5
_POLL_SECONDS = 0.02


class Holder(Struct, frozen=True):
    """The process that holds a job's lock; `since` is in Unix seconds."""

    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"


def read_holder(directory: Path) -> Holder | None:
    """Return who holds the lock of a checkpoint exclusively, by what that process wrote there; None if nothing can be
    read.

    This is meaningful only while the lock is refused: what a killed process wrote stays.
    """
    try:
        with (directory / FILE_NAME).open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    match found:
        case {"pid": int(pid), "host": str(host), "since": int() | float() as since} if (
            is_count(pid) and is_text(host) and host.isprintable() and is_moment(since)
        ):
            return Holder(pid, host, float(since))
    return None


class JobLock:
    """The lock of one checkpoint directory, held from construction until `close`.

    A run holds it exclusively. A command that only reads shares it with other readers for a moment, so a run waits half
    a second before it gives up.

    Raises:
        JobLocked: another run holds it; the message names the process.
        CheckpointFailed: the lock file cannot be opened.
    """

    def __init__(self, directory: Path, *, shared: bool = False) -> None:
        self._path = directory / FILE_NAME
        self._shared = shared
        give_up = time.monotonic() + (0 if shared else _PATIENCE_SECONDS)
        while (file := self._try()) is None:
            if time.monotonic() >= give_up:
                raise JobLocked(_refusal(directory))
            time.sleep(_POLL_SECONDS)
        self._file = file
        if not shared:
            with suppress(OSError):  # the holder's name is only a convenience; the disk may be full
                os.ftruncate(file, 0)
                holder = Holder(os.getpid(), os.uname().nodename, time.time())
                os.pwrite(file, json.dumps(asdict(holder)).encode(), 0)

    def _try(self) -> int | None:
        """Return the locked file; None while another process holds the lock."""
        while True:
            file = self._open()
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                # The lock of a file that was removed meanwhile excludes nobody.
                if os.path.samestat(os.fstat(file), os.stat(self._path)):
                    return file
                os.close(file)
            except FileNotFoundError:
                os.close(file)
            except BlockingIOError:
                os.close(file)
                return None
            except OSError as error:
                os.close(file)
                raise CheckpointFailed(f"{self._path}: cannot lock the job: {error.strerror}") from error

    def _open(self) -> int:
        try:
            # A command that created the directory in vain may have removed it again.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CheckpointFailed(f"{self._path}: cannot open the job's lock: {error.strerror}") from error

    def close(self) -> None:
        """Release the lock."""
        if not self._shared:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
        os.close(self._file)

    def __enter__(self) -> JobLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _refusal(directory: Path) -> str:
    holder = read_holder(directory)
    if holder is None:
        return "another run of this job is under way, or another command is reading its checkpoint"
    return f"another run of this job is under way: {holder}"
