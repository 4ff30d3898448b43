"""Five jobs under one limit: `make all -j4`, a SIGKILL for all of it half-way, and a second `make all -j4`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.many_jobs import ManyJobs, kill_and_finish, most_within

JOBS, ROWS, PER_MINUTE, SLOTS = 5, 180, 600, 8


def test_a_killed_make_all_is_finished_by_the_next_and_the_shared_limit_is_kept(
    simulate: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    url = simulate(ledger, latency_seconds=0.3, latency_spread=0.5, seed=3, requests_per_minute=PER_MINUTE)
    work = ManyJobs(tmp_path, url, JOBS, ROWS, PER_MINUTE, SLOTS)
    times = kill_and_finish(work, ledger, JOBS * ROWS // 2, 600)
    busiest = most_within(60.0, times)
    with capsys.disabled():
        print(
            f"\n{JOBS} jobs of {ROWS} rows: {len(times)} requests in {times[-1] - times[0]:.0f} s, in the busiest"
            f" minute {busiest} of {PER_MINUTE}"
        )
    assert busiest <= PER_MINUTE
    assert busiest >= 0.8 * PER_MINUTE, "the limit was never reached"
