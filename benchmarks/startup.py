"""What a command costs before it does anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.bench import Bench, say
from benchmarks.inputs import prompts
from benchmarks.job import COMMAND, KEY, Job
from benchmarks.process import Tree, measure, used_cpu
from benchmarks.table import Row, at_most

_LATENCY = 1.0


def commands(bench: Bench) -> Iterator[Row]:
    """CPU of `--help` and `status`, and of `run` until its first request, each a process of its own."""
    job = Job("startup", bench.server, prompts(100), 100)
    job.begin()
    job.run()
    for words, bar in ((["--help"], 0.2), (["status", job.file], 0.4)):
        log = job.directory / "log"
        found = [measure([COMMAND, *words], log, environment=KEY).cpu for _ in range(2 * bench.repeats)]
        yield _row(f"`pipeline {words[0]}`", found, bar)
    yield _row("`pipeline run` to its first request, 100 rows of Parquet", _to_first_request(bench), 1.0)


def _to_first_request(bench: Bench) -> list[float]:
    """Measure the CPU time up to the first request, which then waits until it is read."""
    job = Job("startup", bench.server, prompts(100), 100, prefix=f"/fixed/{_LATENCY}")
    found = []
    for _ in range(bench.repeats):
        seen: list[float] = []

        def look(tree: Tree, seen: list[float] = seen) -> None:
            if not seen and bench.server.stats().requests:
                seen.append(used_cpu(tree.pids()))

        job.begin()
        job.run("run", "--limit", "1", look_seconds=0.05, watch=look)
        found += seen
    return found


def _row(what: str, found: Sequence[float], bar: float) -> Row:
    cpu = median(found)
    say(f"{what}: {cpu:.3f} s of CPU")
    return Row(f"{what}, CPU", f"{cpu:.2f} s", "", f"≤ {bar:.1f} s", at_most(cpu, bar))
