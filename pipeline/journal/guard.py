"""The translation of SQLite's errors into errors of the checkpoint."""

from __future__ import annotations

import sqlite3

from pipeline.errors import CheckpointFailed


class Guard:
    """Raise SQLite's errors, and those of invalid values in its rows, as an error of this kind."""

    def __init__(self, kind: type[CheckpointFailed], message: str) -> None:
        self._kind = kind
        self._message = message

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error | OSError | ValueError | TypeError | KeyError):
            raise self._kind(f"{self._message}: {error}") from error
