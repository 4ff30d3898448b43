"""A slow endpoint: whether every slot is busy all the time."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import zip_longest
from statistics import median, quantiles

from benchmarks.bench import Bench, fresh, median_of, say
from benchmarks.inputs import prompts
from benchmarks.job import Job, Run
from benchmarks.latencies import lognormal, perfect_schedule
from benchmarks.server import CERTIFICATE, TLS_EXECUTABLE, Server
from benchmarks.table import Row, at_least, at_most

_MEAN, _SIGMA = 0.5, 0.5
_LONG = 20.0


def half_a_second(bench: Bench) -> Iterator[Row]:
    """Log-normal latency of half a second in the mean, 128 in flight, beside a bare aiohttp loop."""
    job = Job("half-second", bench.server, prompts(5000), 5000, 128, prefix=f"/lognormal/{_MEAN}/{_SIGMA}")
    ours, loops = bench.interleaved(lambda turn: fresh(job, seed=turn), lambda turn: bench.aiohttp_loop(job, seed=turn))
    perfect = [_perfect_span(run, turn, job.concurrency) for turn, run in enumerate(ours)]
    kept = median(span / run.stats.span for span, run in zip(perfect, ours, strict=True))
    kept_by_loop = median(span / loop.stats.span for span, loop in zip(perfect, loops, strict=True))
    ratio = median(our.wall / loop.wall for our, loop in zip(ours, loops, strict=True))
    say(f"half-second: {kept:.3f} of the perfect schedule, {ratio:.3f} of the loop's time")
    yield Row(
        f"{_MEAN} s log-normal latency, 128 in flight, 5,000 rows: server's span",
        f"{kept:.3f} of the perfect schedule",
        f"perfect schedule {median(perfect):.2f} s; aiohttp loop {kept_by_loop:.3f} of it",
        "≥ 0.97",
        at_least(kept, 0.97),
    )
    yield Row(
        "the same, whole process",
        f"{median_of(ours, lambda run: run.wall):.2f} s, {ratio:.3f} of the loop's time",
        f"aiohttp loop {median_of(loops, lambda run: run.wall):.2f} s",
        "≤ 1.05 of the loop's time",
        at_most(ratio, 1.05),
    )


def two_seconds(bench: Bench) -> Iterator[Row]:
    """Measure a latency of two seconds and 1,024 in flight: half a core at most."""
    job = Job("two-seconds", bench.server, prompts(20_000), 20_000, 1024, prefix="/fixed/2")
    runs = [fresh(job) for _ in range(bench.repeats)]
    perfect = perfect_schedule([2.0] * job.rows, job.concurrency)
    kept = median_of(runs, lambda run: perfect / run.stats.span)
    cores = median_of(runs, lambda run: run.measured.cpu / run.wall)
    yield Row(
        "2 s latency, 1,024 in flight, 20,000 rows",
        f"{kept:.3f} of the perfect schedule, {cores:.2f} cores",
        f"perfect schedule {perfect:.1f} s",
        "≥ 0.95, under 0.5 cores",
        max(at_least(kept, 0.95), at_most(cores, 0.5)),
    )


def ten_thousand_in_flight(bench: Bench) -> Iterator[Row]:
    """Log-normal latency of twenty seconds in the mean, 10,000 in flight: every slot busy, at little CPU and memory."""
    job = _ten_thousand(bench.server)
    times_path = job.directory / "times.json"
    run = job.run(wrapper=(sys.executable, "-m", "benchmarks.instrumented", times_path))
    kept = _perfect_span(run, 0, job.concurrency, _LONG, _SIGMA) / run.stats.span
    yield Row(
        f"{_LONG:g} s log-normal latency, 10,000 in flight, 30,000 rows",
        f"{kept:.3f} of the perfect schedule, {_use_of(run)}",
        "",
        "≥ 0.97, under 0.5 cores, ≤ 300 MB",
        max(at_least(kept, 0.97), at_most(_cores(run), 0.5), at_most(run.measured.peak_bytes, 300e6)),
    )
    commits = json.loads(times_path.read_text(encoding="utf-8"))["commits"]
    waits = quantiles([seconds for seconds, _, freed, _ in commits for _ in range(freed)], n=100)
    median_wait, longest = waits[49], waits[98]
    yield Row(
        "the same: what a slot waits for the commit that frees it",
        f"median {1000 * median_wait:.1f} ms, p99 {1000 * longest:.1f} ms",
        "",
        "< 10 ms, < 50 ms",
        max(at_most(median_wait, 0.01), at_most(longest, 0.05)),
    )


def over_tls(bench: Bench) -> Iterator[Row]:
    """Measure ten thousand in flight over TLS, behind the same without."""
    plain = _ten_thousand(bench.server).run()
    with Server(TLS_EXECUTABLE, CERTIFICATE) as server:
        run = _ten_thousand(server).run(environment={"REQUESTS_CA_BUNDLE": str(CERTIFICATE)})
    kept = plain.stats.span / run.stats.span
    yield Row(
        f"{_LONG:g} s log-normal latency, 10,000 in flight over TLS, 30,000 rows: server's span",
        f"{kept:.3f} of the same without TLS, {_use_of(run)}",
        f"without TLS {plain.stats.span:.1f} s, {_use_of(plain)}",
        "≥ 0.95",
        at_least(kept, 0.95),
    )


def twenty_thousand_in_flight(bench: Bench) -> Iterator[Row]:
    """Measure 20,000 in flight, on two servers and from two senders: many systems allow a process 20,000 files."""
    prefix, rows, slots = f"/lognormal/{_LONG:g}/{_SIGMA}", 60_000, 20_000
    with Server() as second:
        servers = (bench.server, second)
        urls = [server.url("openai", prefix) for server in servers]
        limits = {"limits": {"concurrency": slots, "processes": 3}}
        job = Job(
            "twenty-thousand",
            bench.server,
            prompts(rows),
            rows,
            kind="openai",
            endpoint={"url": urls},
            sections=limits,
        )
        job.begin()
        second.reset()
        run = job.run()
        stats = [server.stats() for server in servers]
    begun = [one.first for one in stats if one.first is not None]
    ended = [one.first + one.span for one in stats if one.first is not None]
    span, first = max(ended) - min(begun), min(begun) - run.measured.started
    # Each server gives latencies in the order of its own requests; they take turns, about.
    each = [[lognormal(0, request, _LONG, _SIGMA) for request in range(one.requests)] for one in stats]
    kept = perfect_schedule((one for turn in zip_longest(*each) for one in turn if one is not None), slots) / span
    yield Row(
        f"{_LONG:g} s log-normal latency, 20,000 in flight, 60,000 rows",
        f"first request after {first:.1f} s, {kept:.3f} of the perfect schedule, {_use_of(run)}",
        "",
        "every row answered, first request within 3 s",
        at_most(first, 3),
    )


def _ten_thousand(server: Server) -> Job:
    job = Job("ten-thousand", server, prompts(30_000), 30_000, 10_000, prefix=f"/lognormal/{_LONG:g}/{_SIGMA}")
    job.begin()
    return job


def _cores(run: Run) -> float:
    return run.measured.cpu / run.wall


def _use_of(run: Run) -> str:
    return f"{_cores(run):.2f} cores, peak {run.measured.peak_bytes / 1e6:.0f} MB"


def _perfect_span(run: Run, seed: int, slots: int, mean: float = _MEAN, sigma: float = _SIGMA) -> float:
    """Return the perfect schedule, in seconds, of the latencies that the server gave to a run.

    Raises RuntimeError where they are not those of the seed.
    """
    latencies = [lognormal(seed, request, mean, sigma) for request in range(run.stats.requests)]
    if abs(sum(latencies) - run.stats.latency_total) > 1e-6 * run.stats.latency_total:
        raise RuntimeError("the server gave other latencies than those of the seed")
    return perfect_schedule(latencies, slots)
