"""`--log-file`: everything that a run has to say, in a file that only its owner can read and that never grows large."""

from __future__ import annotations

import logging
import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

MOST_BYTES = 10 * 2**20
KEPT_FILES = 5
"""Files of that size beside the one that is written: PATH.1, the latest, to PATH.5."""


class LogFile(RotatingFileHandler):
    """Takes lines. One that cannot be written is lost, and no run ends for it."""

    def __init__(self, path: str) -> None:
        """Makes the file and its directory where they are missing. Raises OSError."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=MOST_BYTES, backupCount=KEPT_FILES, encoding="utf-8", errors="backslashreplace")

    def add(self, line: str) -> None:
        """Write one line."""
        self.handle(logging.makeLogRecord({"msg": line}))

    def handleError(self, record: logging.LogRecord) -> None:
        """Keep silent: by default logging shows a traceback on stderr."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
