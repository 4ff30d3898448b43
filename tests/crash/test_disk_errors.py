"""EIO at the n-th call of each syscall that changes the job's files, for every n until a run meets none."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline.journal import Journal
from tests.crash.conftest import NewJob
from tests.crash.job import Job
from tests.crash.processes import Result, Warm
from tests.crash.strace import CHANGES, Call, injecting, read_log, require_strace

ROWS = {"pwrite64": 12}
CONVENIENCES = ("lock", "progress.json", "progress.json.new")
"""Files that a run can do without: a disk that fails shows elsewhere."""
HARMLESS = {
    ("mkdir", "job"),  # the directory is there
    ("openat", "plan"),  # it is made anew
    ("openat", "state"),  # a look for scratch directories that a killed run left beside the checkpoint
    ("openat", "answers.parquet"),  # a look whether it shows the same already: it is made anew
    ("ftruncate", "journal.sqlite"),  # SQLite cuts off pages that are not in use
    ("openat", "job"),
    ("fdatasync", "job"),  # SQLite syncs the directory, which the program does itself
}
JOURNAL = ("journal.sqlite", "journal.sqlite-wal")


@pytest.mark.parametrize(
    ("syscall", "step"),
    [
        ("fdatasync", 1),
        ("fsync", 1),
        ("pwrite64", 1),
        ("rename", 1),
        ("unlink", 1),
        ("ftruncate", 1),
        ("openat", 1),
        ("mkdir", 1),
        ("write", 9),
    ],
)
def test_a_disk_error_ends_the_run_at_once_and_the_next_one_loses_and_doubles_nothing(
    syscall: str, step: int, warm: Warm, new_job: NewJob, record_property: Callable[[str, object], None]
) -> None:
    require_strace()
    ended, errors, began = 0, 0, time.monotonic()
    for number in itertools.count(1, step):
        job = new_job(ROWS.get(syscall, 26))
        log = job.directory / "strace.log"
        attach = injecting(syscall, "error=EIO", number, paths=job.files, log=log)
        result = warm.run(job.directory, "run", "job.yaml", "--json", attach=attach)
        calls = read_log(log)
        failed = next((at for at, call in enumerate(calls) if call.was_injected), None)
        if failed is None:
            break
        errors += 1
        if result.code == job.exit_code:
            assert _is_harmless(calls[failed], calls[:failed]), calls[failed]
        else:
            ended += 1
            _check_refusal(job, result)
            assert not _touches_the_journal(calls[failed:]), calls[failed:]
            job.cut_off()
            _check_claims(job, calls[:failed])
        result = warm.run(job.directory, "run", "job.yaml", "--json")
        assert result.code == job.exit_code, result.err
        job.check(result.summary)
    assert errors > 0
    record_property("errors survived", f"{errors} ({ended} ended the run) in {time.monotonic() - began:.0f} s")


def _is_harmless(failed: Call, before: Sequence[Call]) -> bool:
    """Whether a run may go on to its end over a failure, for nothing depends on that call."""
    name = Path(failed.path).name
    has_published = any(call.name == "rename" and call.path.endswith(".writing") for call in before)
    has_superseded = any(call.name == "unlink" and call.path.endswith(".partial.parquet") for call in before)
    return (
        name in CONVENIENCES
        or (failed.name, name) in HARMLESS
        # What a killed run may have left there is only in the way.
        or (failed.name == "unlink" and name.endswith(".writing"))
        # Once the output stands, what a killed run may have left beside it is looked for.
        or (has_superseded and (failed.name, name) == ("openat", "out"))
        # In the end SQLite moves the log into the database; where that fails, the log stays.
        or (has_published and name in JOURNAL)
    )


def _check_refusal(job: Job, result: Result) -> None:
    """It is exit 6, or 2 where nothing was sent yet, in one line that names a path of the job."""
    assert result.code == 6 or (result.code == 2 and not job.exchanges()), result
    (line,) = result.err.splitlines()
    assert str(job.disk) in line, line
    if result.code == 6:
        assert result.summary["error"]["kind"] == "checkpoint_failed"


def _touches_the_journal(calls: Sequence[Call]) -> bool:
    """Whether anything was written or synced after a call on the journal had failed. (SQLite removes a log that holds
    no commit.)
    """
    failed, *later = calls
    changes = [call for call in later if Path(call.path).name in JOURNAL and call.name in CHANGES]
    return Path(failed.path).name in JOURNAL and any(call.name != "unlink" for call in changes)


def _check_claims(job: Job, calls: Sequence[Call]) -> None:
    """Every request that was sent has its claim, or its outcome, in what had reached the disk before the error."""
    if not Journal.exists(job.checkpoint):
        assert not job.exchanges()
        return
    copy = job.directory / "on-disk"
    shutil.copytree(job.checkpoint, copy)
    unsynced = None
    for call in calls:
        if Path(call.path).name == "journal.sqlite-wal":
            unsynced = None if call.name == "fdatasync" else min(unsynced or call.offset or 0, call.offset or 0)
    log = copy / "journal.sqlite-wal"
    if unsynced is not None and log.exists():
        os.truncate(log, unsynced)
    journal = Journal.read(copy)
    latest = {entry.row_id: entry.seq for entry in journal.index()}
    recorded = {row: journal.record(seq).attempts for row, seq in latest.items()}
    for claim in journal.claims():
        recorded[claim.row_id] = recorded.get(claim.row_id, 0) + 1
    journal.close()
    for row, exchanges in job.exchanges().items():
        assert len(exchanges) <= recorded.get(row, 0), f"row {row} was sent without a durable claim"
