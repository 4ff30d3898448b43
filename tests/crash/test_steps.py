"""The part of the crash tests that runs with all tests: SIGKILL before any commit, rename or removal."""

from __future__ import annotations

import itertools
import shutil

from tests.crash.conftest import NewJob
from tests.crash.processes import Warm

ROWS = 6


def test_a_kill_before_any_commit_rename_or_removal_loses_and_doubles_nothing(warm: Warm, new_job: NewJob) -> None:
    for number in itertools.count(1):
        job = new_job(ROWS)
        killed = warm.run(job.directory, "run", "job.yaml", "--json", die_at=number)
        if not killed.was_killed:
            assert killed.code == job.exit_code, killed.err
            break
        job.cut_off()
        result = warm.run(job.directory, "run", "job.yaml", "--json")
        assert result.code == job.exit_code, result.err
        job.check(result.summary)
    assert number > 15


def test_a_kill_at_any_step_of_publishing_several_files_leaves_no_half_output(warm: Warm, new_job: NewJob) -> None:
    job = new_job(4, wide=True)
    whole = warm.run(job.directory, "run", "job.yaml", "--json")
    for number in itertools.count(1):
        shutil.rmtree(job.output.parent)
        killed = warm.run(job.directory, "run", "job.yaml", "--json", die_at=number)
        parts = [path.read_bytes() for path in job.output.glob("*")]
        assert all(part.endswith(b"PAR1") for part in parts)
        if not killed.was_killed:
            break
        result = warm.run(job.directory, "run", "job.yaml", "--json")
        assert result.summary["requests"] == 0
        job.check(result.summary)
    assert (whole.code, number > 5) == (job.exit_code, True)
