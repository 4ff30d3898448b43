"""Every error the program raises on purpose, and the stable words of `error_kind`. endings.py lists the exit codes.

    PipelineError                 carries the exit code of the command
    ├── InvalidInput              2   the job file, the input or a flag is wrong; nothing was sent
    │   ├── InvalidJob            2   ... with every mistake and its place
    │   ├── NoCheckpoint          2   there are no answers yet: nothing was run
    │   └── StoreRefused          2   an object store refuses (credentials, bucket) before anything was sent
    ├── CheckpointFailed          6   the disk or the checkpoint failed
    │   ├── CheckpointDamaged     6   ... its content cannot be trusted: `pipeline recover` rebuilds it
    │   └── StoreFailed           6   an object store cannot be reached, or refuses what it allowed before
    ├── JobLocked                75   another run of this job is under way
    ├── RunStopped           3, 4, 5  a run ended before every row had an answer (only where answers are returned)
    └── Interrupted     128 + n   signal n came while nothing was being sent (129 hangup, 130 Ctrl-C, 143 TERM)

Anything else that reaches the top is a fault of the program itself (exit 1).
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from msgspec import Struct

from pipeline.endings import StopKind

GIVEN = "the job"
"""The file of a job that was given as a Python mapping; no line of it is told."""


class PipelineError(Exception):
    """The root of the tree. `exit_code` is what the command ends with, `kind` the word in `--json`."""

    kind: ClassVar[StopKind] = StopKind.INTERNAL_ERROR
    exit_code: int = kind.exit


class InvalidInput(PipelineError):
    """Something the user gave is wrong; the message says what, where and how to fix it."""

    kind = StopKind.INVALID_INPUT
    exit_code = kind.exit


class Mistake(Struct, frozen=True):
    """One thing wrong with a job. `line` and `column` count from 1 and are None where there is no place."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str | None = None
    suggestion: str | None = None
    source: str | None = None
    """The offending line as it is in the file, for the caret."""

    def __str__(self) -> str:
        has_lines = self.file is not None and self.file != GIVEN and not self.file.startswith("--set")
        place = f"{self.file}, line {self.line}" if has_lines and self.line is not None else self.file
        words = ": ".join(part for part in (self.key, place, self.message) if part)
        return f"{words} ({self.suggestion})" if self.suggestion else words


class InvalidJob(InvalidInput):
    """A job with one or more mistakes, all of those that could be found in one go."""

    kind = StopKind.INVALID_JOB

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(map(str, self.mistakes)))


class NoCheckpoint(InvalidInput):
    """There are no answers to read: the job was never run."""

    kind = StopKind.NO_CHECKPOINT


class StoreRefused(InvalidInput):
    """An object store refuses what the job needs of it, in its own words: credentials, a bucket that is not there."""


class RunStopped(PipelineError):
    """A run ended before every row had an outcome, where the caller asked for the answers themselves. What was
    answered is saved: the same call continues from there. `exit_code` is that of the run.
    """

    kind = StopKind.RUN_STOPPED

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def _remedy(cause: BaseException | None) -> str | None:
    """Return what to do about an OSError or an error of SQLite (https://www.sqlite.org/rescode.html)."""
    number = getattr(cause, "errno", None)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if number in (errno.ENOSPC, errno.EDQUOT) or code == sqlite3.SQLITE_FULL:
        return "free some space there"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM) or code == sqlite3.SQLITE_READONLY:
        return "make it writable"
    if number == errno.EIO or code == sqlite3.SQLITE_IOERR:
        return "see to the disk, which failed"
    return None


class CheckpointFailed(PipelineError):
    """The disk or the checkpoint cannot be trusted; what was acknowledged is left as it is. Where the cause is one of
    the disk's own, the message says what to do about it.
    """

    kind = StopKind.CHECKPOINT_FAILED
    exit_code = kind.exit

    def __str__(self) -> str:
        remedy = _remedy(self.__cause__)
        if remedy is None:
            return super().__str__()
        return f"{super().__str__()}; {remedy}, then run the job again: every acknowledged answer is in its checkpoint"


class CheckpointDamaged(CheckpointFailed):
    """What a checkpoint holds cannot be trusted, or is missing. The message ends with the remedy, `command`, which
    names the job once it is known.
    """

    command = "pipeline recover JOB.yaml"

    def __str__(self) -> str:
        remedy = _remedy(self.__cause__)
        first = "" if remedy is None else f"{remedy}, then "
        message = PipelineError.__str__(self)
        return f"{message}; {first}`{self.command}` rebuilds the checkpoint from everything intact"


class StoreFailed(CheckpointFailed):
    """An object store cannot be reached, or fails. Everything acknowledged is in the checkpoint."""

    kind = StopKind.STORE_FAILED


class JobLocked(PipelineError):
    """Another process holds the job's lock."""

    kind = StopKind.JOB_LOCKED
    exit_code = kind.exit


class Interrupted(PipelineError):
    """A signal ended the command while no request was under way."""

    kind = StopKind.INTERRUPTED

    def __init__(self, signal: int) -> None:
        self.exit_code = self.kind.exit + signal
        super().__init__("stopped by a signal")


SECONDS_BETWEEN_SIGNALS = 1.0
"""Schedulers and shells send the same signal twice, to a process and to its group: it is one within this time."""

TRUNCATED = "truncated"
"""What `retry-failed --kind` calls the rows with a truncated answer: they have not failed."""


class ErrorKind(StrEnum):
    """The stable words of `error_kind`. docs/errors.md lists them with what to do about each."""

    # Found before anything is sent.
    EMPTY_PROMPT = "empty_prompt"
    PROMPT_ERROR = "prompt_error"
    CONTEXT_WINDOW_EXCEEDED = "context_window_exceeded"
    IMAGE_ERROR = "image_error"
    # The endpoint refuses the row.
    BAD_REQUEST = "bad_request"
    REQUEST_TOO_LARGE = "request_too_large"
    SCHEMA_NOT_SUPPORTED = "schema_not_supported"
    REPLY_TOO_LARGE = "reply_too_large"
    # No answer is what the job expects.
    INVALID_ANSWER = "invalid_answer"
    TRUNCATED_ANSWER = "truncated_answer"
    # Passing causes.
    RATE_LIMITED = "rate_limited"
    OUT_OF_CAPACITY = "out_of_capacity"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    GATEWAY_ERROR = "gateway_error"
    CONNECTION_ERROR = "connection_error"
    INVALID_REPLY = "invalid_reply"
    # The endpoint refuses the job.
    BAD_CREDENTIALS = "bad_credentials"
    NOT_ALLOWED = "not_allowed"
    PAYMENT_REQUIRED = "payment_required"
    MODEL_NOT_FOUND = "model_not_found"
    DAILY_QUOTA = "daily_quota"
    REDIRECTED = "redirected"
    TLS_ERROR = "tls_error"


NOT_HELD = frozenset({ErrorKind.INVALID_ANSWER, ErrorKind.TRUNCATED_ANSWER})
"""Kinds of rows whose answers were not what the job expects."""
