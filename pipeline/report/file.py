"""The path of a report, and what it may replace."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.report.page import marks
from pipeline.storage import LOCAL

_BYTES_OF_A_HEAD = 4096


def report_path(output: Path) -> Path:
    """Return the path of a job's report, by its output's path."""
    return output.with_name(output.name.removesuffix(".parquet") + ".html")


def refuse_foreign(path: Path, job: str) -> None:
    """Raise InvalidInput if there is something at `path` that is not a report of this job."""
    if os.path.lexists(path) and not _is_report(path, job):
        raise InvalidInput(
            f"{path} exists and is no report of the job {job!r}; move it away, name another file with --out, or set"
            " output.overwrite: true"
        )


def publish(text: str, path: Path, job: str, checkpoint_id: str, *, overwrite: bool) -> None:
    """Put a report at `path`, whole or not at all. `overwrite`: also in place of what is no report of this job.

    Raises:
        CheckpointFailed: it cannot be written; `path` is as it was.
        InvalidInput: something else has been put there meanwhile, and was kept.
    """

    def check(_: Path) -> None:
        if not overwrite:
            refuse_foreign(path, job)

    try:
        with LOCAL.publish(path, checkpoint_id, check) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointFailed(f"{path}: the report cannot be written: {error.strerror}") from error


def _is_report(path: Path, job: str) -> bool:
    with suppress(OSError), LOCAL.open(path) as file:
        return marks(job).encode() in file.read(_BYTES_OF_A_HEAD)
    return False
