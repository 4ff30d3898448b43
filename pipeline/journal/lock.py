"""One run of a job at a time: an advisory lock that the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType

from pipeline.errors import CheckpointFailed, JobLocked

_PATIENCE_SECONDS = 0.5
_POLL_SECONDS = 0.02


class JobLock:
    """The lock of one checkpoint directory, held from construction to `close`.

    A run holds it alone. A command that only reads shares it with other readers for a moment; a run therefore waits
    half a second before it gives up.

    Raises:
        JobLocked: another run holds it; the message names the process.
        CheckpointFailed: the lock file cannot be opened.
    """

    def __init__(self, directory: Path, *, shared: bool = False) -> None:
        path = directory / "lock"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CheckpointFailed(f"{path}: cannot open the job's lock: {error.strerror}") from error
        give_up = time.monotonic() + (0 if shared else _PATIENCE_SECONDS)
        while True:
            try:
                fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
                    os.close(self._file)
                    raise JobLocked(f"another run of this job is under way ({holder or 'process unknown'})") from None
                time.sleep(_POLL_SECONDS)
            except OSError as error:
                os.close(self._file)
                raise CheckpointFailed(f"{path}: cannot lock the job: {error.strerror}") from error
        if not shared:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps({"pid": os.getpid(), "since": int(time.time())}).encode(), 0)

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._file)

    def __enter__(self) -> JobLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
