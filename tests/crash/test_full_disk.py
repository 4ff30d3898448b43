"""ENOSPC: the job's files on a tmpfs that is full at one point after another, until one is large enough."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.conftest import NewJob
from tests.crash.processes import Warm, run

ROWS = 26
PAGE_KIB = 4
SMALLEST_KIB = 8
GROWTH = 1.15
MOUNTED = """
mount -t tmpfs -o size="$1"k tmpfs "$2" || exit 100
target=$3; mounted=$2; shift 3
"$@"; code=$?
cp -a "$mounted"/. "$target" || exit 101
exit "$code"
"""
"""Mounts the tmpfs for one command, in a name space of its own, and keeps a copy of what is then in it."""


def require_unshare() -> None:
    """Fail by name where there is no `unshare`."""
    if shutil.which("unshare") is None:
        pytest.fail("unshare is not here. Debian, Ubuntu: apt install util-linux")


def test_a_full_disk_ends_the_run_and_with_more_space_nothing_was_lost_or_doubled(
    warm: Warm, new_job: NewJob, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    require_unshare()
    began, failures, size = time.monotonic(), 0, SMALLEST_KIB
    while True:
        job = new_job(ROWS, tmp_path / str(size))
        mounted = job.disk
        mounted.mkdir()
        copy = tmp_path / "copy"
        copy.mkdir()
        inside = ["unshare", "-Urm", "sh", "-c", MOUNTED, "sh", str(size), str(mounted), str(copy)]
        result = run(job.directory, "run", "job.yaml", "--json", before=inside)
        assert result.code not in (100, 101), f"no tmpfs can be mounted without privileges here: {result.err}"
        mounted.rmdir()
        copy.rename(mounted)
        if result.code == job.exit_code:
            job.check(result.summary)
            break
        failures += 1
        assert result.code == 6 or (result.code == 2 and not job.exchanges()), (size, result)
        (line,) = result.err.splitlines()
        assert str(job.disk) in line, line
        job.cut_off()
        result = warm.run(job.directory, "run", "job.yaml", "--json")
        assert result.code == job.exit_code, result.err
        job.check(result.summary)
        size = PAGE_KIB * (int(size * GROWTH) // PAGE_KIB + 1)
    assert failures > 0
    record_property(
        "full disks survived", f"{failures}, from {SMALLEST_KIB} to {size} KiB, in {time.monotonic() - began:.0f} s"
    )
