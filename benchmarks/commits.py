"""What it costs to have every answer on disk before its slot is free again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.bench import Bench, say
from benchmarks.inputs import prompts
from benchmarks.job import Job
from benchmarks.table import Row, at_most


def durable_commits(bench: Bench) -> Iterator[Row]:
    """Measure the commits' share of a run's CPU, and how long a slot waits for the one that frees it."""
    job = Job("commits", bench.server, prompts(10_000), 10_000)
    times_path = job.directory / "times.json"
    wrapper = (sys.executable, "-m", "benchmarks.instrumented", times_path)
    shares, waits, whole_waits, groups = [], [], [], []
    for _ in range(bench.repeats):
        job.begin()
        run = job.run(wrapper=wrapper)
        commits = json.loads(times_path.read_text(encoding="utf-8"))["commits"]
        shares.append(sum(cpu for _, cpu, _, _ in commits) / run.measured.cpu)
        waits.append(median(_slot_waits(commits)))
        whole_waits.append(median([wait for *_, found in commits for wait in found]))
        groups.append(sum(freed for _, _, freed, _ in commits) / sum(1 for _, _, freed, _ in commits if freed))
        say(f"commits: {shares[-1]:.3f} of the CPU, a slot waits {1000 * waits[-1]:.2f} ms, {groups[-1]:.1f} a group")
    share, wait = median(shares), median(waits)
    yield Row(
        "durable commit, share of the run's CPU (10,000 rows, zero latency)",
        f"{100 * share:.1f}%",
        "",
        "≤ 10%",
        at_most(share, 0.1),
    )
    yield Row(
        "durable commit, what a slot waits for it",
        f"{1000 * wait:.2f} ms ({median(groups):.0f} answers a commit)",
        f"from an answer's last byte to the commit's end: {1000 * median(whole_waits):.1f} ms",
        "< 5 ms in the median",
        at_most(wait, 0.005),
    )


def _slot_waits(commits: list[Any]) -> list[float]:
    """Return the seconds of the commit that freed it, for each slot that was freed."""
    return [seconds for seconds, _, freed, _ in commits for _ in range(freed)]
