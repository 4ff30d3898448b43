"""The part of the crash tests that runs with all tests: SIGKILL before any commit, rename or removal."""

from __future__ import annotations

import itertools

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
