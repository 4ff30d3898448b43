"""SIGKILL before the n-th call of each syscall that changes the job's files, for every n until a run gets through.

The disk sees nothing between two such calls, so the kill before one is also the kill after the one before it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest

from tests.crash.conftest import NewJob
from tests.crash.processes import Warm
from tests.crash.strace import injecting, require_strace

ROWS = {"pwrite64": 12}
"""Each commit is a dozen writes: fewer rows make fewer commits, and every kind of write is still there."""


@pytest.mark.parametrize(
    ("syscall", "first", "step"),
    [
        ("pwrite64", 1, 2),
        ("pwrite64", 2, 2),
        ("fdatasync", 1, 1),
        ("fsync", 1, 1),
        ("rename", 1, 1),
        ("unlink", 1, 1),
        ("openat", 1, 1),
        ("mkdir", 1, 1),
        ("ftruncate", 1, 1),
        ("write", 1, 9),  # of a draft nothing is known before it is synced: a sample will do
    ],
)
def test_a_kill_before_any_call_that_the_disk_sees_loses_and_doubles_nothing(
    syscall: str, first: int, step: int, warm: Warm, new_job: NewJob, record_property: Callable[[str, object], None]
) -> None:
    require_strace()
    kills, began = 0, time.monotonic()
    for number in itertools.count(first, step):
        job = new_job(ROWS.get(syscall, 26))
        killed = 0
        for _ in ("a fresh job", "a job to resume"):
            attach = injecting(syscall, "signal=SIGKILL", number, paths=job.files, log=job.directory / "strace.log")
            result = warm.run(job.directory, "run", "job.yaml", "--json", attach=attach)
            if result.was_killed:
                killed += 1
                job.cut_off()
            else:
                assert result.code == job.exit_code, result.err
        result = warm.run(job.directory, "run", "job.yaml", "--json")
        assert result.code == job.exit_code, result.err
        job.check(result.summary)
        kills += killed
        if not killed:
            break
    assert kills > 0
    record_property("kills survived", f"{kills} in {time.monotonic() - began:.0f} s")
