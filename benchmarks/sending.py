"""Zero latency: how fast rows go through a whole run, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks.bench import Bench, fresh, median_of
from benchmarks.inputs import prompts
from benchmarks.job import Job
from benchmarks.table import Row, at_least, at_most

_MOST_OF_LOOP = 1.0
_LEAST_ROWS_PER_SECOND = 3000
_MOST_CPU_PER_ROW = 0.7e-3


def ten_thousand_rows(bench: Bench) -> Iterator[Row]:
    """Measure the whole process beside a bare aiohttp loop over the same requests."""
    job = Job("10k-rows", bench.server, prompts(10_000), 10_000)
    ours, loops = bench.interleaved(lambda turn: fresh(job), lambda turn: bench.aiohttp_loop(job))
    ratio = median(our.wall / loop.wall for our, loop in zip(ours, loops, strict=True))
    yield Row(
        "10,000 rows, zero latency, whole process",
        f"{median_of(ours, lambda run: run.wall):.2f} s, {median_of(ours, lambda run: run.rows_per_second):.0f} rows/s,"
        f" {ratio:.2f} of the loop's time",
        f"aiohttp loop {median_of(loops, lambda run: run.wall):.2f} s,"
        f" {1000 * median_of(loops, lambda run: run.cpu_per_row):.2f} ms of CPU a row; {_raw_sockets(bench, job)}",
        f"≤ {_MOST_OF_LOOP}",
        at_most(ratio, _MOST_OF_LOOP),
    )


def two_hundred_thousand_rows(bench: Bench) -> Iterator[Row]:
    """Measure a run long enough for its start not to count, beside raw sockets."""
    job = Job("200k-rows", bench.server, prompts(200_000), 200_000)
    limit = Job("200k-rows", bench.server, prompts(10_000), 10_000)
    runs = [fresh(job) for _ in range(bench.repeats)]
    rate, cpu = median_of(runs, lambda run: run.rows_per_second), median_of(runs, lambda run: run.cpu_per_row)
    yield Row(
        "200,000 rows, zero latency",
        f"{rate:.0f} rows/s, {1000 * cpu:.2f} ms of CPU a row",
        _raw_sockets(bench, limit),
        f"≥ {_LEAST_ROWS_PER_SECOND} rows/s, ≤ {1000 * _MOST_CPU_PER_ROW:.1f} ms",
        max(at_least(rate, _LEAST_ROWS_PER_SECOND), at_most(cpu, _MOST_CPU_PER_ROW)),
    )


def _raw_sockets(bench: Bench, job: Job) -> str:
    """Measure what one process sends that does nothing else, as a limit to show."""
    loops = [bench.socket_loop(job) for _ in range(bench.repeats)]
    rate, cpu = median_of(loops, lambda loop: loop[0]), median_of(loops, lambda loop: loop[1])
    return f"raw sockets, one process: {rate:.0f} requests/s, {1e6 * cpu:.0f} µs of CPU each"
