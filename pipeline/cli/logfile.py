"""`--log-file`: everything that a run has to say, in a file that only its owner can read and that never grows large."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pipeline.errors import InvalidInput

MOST_BYTES = 10 * 2**20
KEPT_FILES = 5
"""Files of that size beside the one that is written: PATH.1, the latest, to PATH.5."""


_LINE = re.compile(rb'\{"time": "[0-9]{4}-|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+]+ [A-Z]+ ')
_LONGEST_START = 80


def refuse_foreign(path: str, job_file: str, overrides: Sequence[str]) -> None:
    """Raise InvalidInput where the log, or a file that it is rotated to, would be one that the job lives by, would be
    read as input, or is there and no log of this command. Raises OSError where a file cannot be looked at.
    """
    from pipeline.app.jobs.paths import refuse_to_write
    from pipeline.app.jobs.places import is_same
    from pipeline.config import read_job

    job, _ = read_job(job_file, overrides)
    for file in (Path(path), *(Path(f"{path}.{number}") for number in range(1, KEPT_FILES + 1))):
        if job is not None:
            refuse_to_write(job, file)
        elif is_same(file, Path(job_file)):
            raise InvalidInput(f"{file} is the job file; name another file")
        if file.is_file():
            with file.open("rb") as standing:
                start = standing.read(_LONGEST_START)
            if start and not _LINE.match(start):
                raise InvalidInput(f"{file} is no log of this command; name another file")


class LogFile(RotatingFileHandler):
    """Takes lines. One that cannot be written is lost, and no run ends for it."""

    def __init__(self, path: str) -> None:
        """Create the file and its directory if they are missing. Raises OSError."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=MOST_BYTES, backupCount=KEPT_FILES, encoding="utf-8", errors="backslashreplace")

    def add(self, line: str) -> None:
        """Write one line."""
        self.handle(logging.makeLogRecord({"msg": line}))

    def handleError(self, record: logging.LogRecord) -> None:
        """Keep silent: by default logging shows a traceback on stderr."""

    def close(self) -> None:
        """Close the file. What it does not take is lost."""
        with suppress(OSError):
            super().close()

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=_private)


def _private(path: str, flags: int) -> int:
    # Without waiting: a pipe that nobody reads is refused, and one that is full takes no line.
    return os.open(path, flags | os.O_NONBLOCK, 0o600)
