"""Replies as streams of events beside whole ones, and several servers behind one queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks.bench import Bench, fresh, median_of, say
from benchmarks.inputs import prompts
from benchmarks.job import Job
from benchmarks.server import Server
from benchmarks.table import Row, at_least, at_most

_ROWS, _EVENTS = 10_000, 200
_SECONDS, _SIGMA, _SLOWER = 0.2, 0.2, 10
_OF_SEVERAL, _AT_ONCE, _IN_FLIGHT = 12_000, 32, 192


def two_hundred_events(bench: Bench) -> Iterator[Row]:
    """Measure zero latency, as streams of 200 events and as whole replies."""
    whole = Job("whole", bench.server, prompts(_ROWS), _ROWS, 128, kind="openai")
    stream = Job(
        "streams",
        bench.server,
        prompts(_ROWS),
        _ROWS,
        128,
        kind="openai",
        prefix=f"/events/{_EVENTS}",
        endpoint={"stream": True},
    )
    streams, wholes = bench.interleaved(lambda turn: fresh(stream), lambda turn: fresh(whole))
    pairs = list(zip(streams, wholes, strict=True))
    rate = median(one.rows_per_second / other.rows_per_second for one, other in pairs)
    cpu = median(one.cpu_per_row / other.cpu_per_row for one, other in pairs)
    yield Row(
        f"streams of {_EVENTS} events, {_ROWS:,} rows, zero latency",
        f"{median_of(streams, lambda run: run.rows_per_second):.0f} rows/s, {rate:.2f} of whole replies;"
        f" {cpu:.2f} times their CPU a row",
        f"whole replies: {median_of(wholes, lambda run: run.rows_per_second):.0f} rows/s",
        "≥ 0.7 of the rows/s, ≤ 2 times the CPU",
        max(at_least(rate, 0.7), at_most(cpu, 2)),
    )


def four_servers(bench: Bench) -> Iterator[Row]:
    """Measure four servers that take 32 requests at once each, one of them at a tenth of the speed."""
    seconds = [_SECONDS] * 3 + [_SECONDS * _SLOWER]
    with ExitStack() as stack:
        servers = [stack.enter_context(Server()) for _ in seconds]
        urls = [
            server.url("openai", f"/at-once/{_AT_ONCE}/lognormal/{latency}/{_SIGMA}")
            for server, latency in zip(servers, seconds, strict=True)
        ]
        several = Job(
            "several",
            bench.server,
            prompts(_OF_SEVERAL),
            _OF_SEVERAL,
            _IN_FLIGHT,
            kind="openai",
            endpoint={"url": urls},
        )
        kept, kept_in_all = zip(*(_kept(several, servers, turn) for turn in range(bench.repeats)), strict=True)
    yield Row(
        f"four servers, one at a tenth of the speed, {_OF_SEVERAL:,} rows: the servers' span",
        f"{median(kept):.3f} of the best assignment",
        "best: each of them busy until the last answer",
        "≥ 0.95",
        at_least(median(kept), 0.95),
    )
    yield Row("the same, whole process", f"{median(kept_in_all):.3f} of the best assignment")


def _kept(job: Job, servers: Sequence[Server], turn: int) -> tuple[float, float]:
    """Run the job. Return how much of the best assignment the servers' span is, and how much the whole process."""
    for number, server in enumerate(servers):
        server.reset(seed=turn * len(servers) + number)
    job.begin()
    run = job.run()
    found = [server.stats() for server in servers]
    best = job.rows / sum(_AT_ONCE * stats.requests / stats.latency_total for stats in found)
    firsts = [stats.first for stats in found if stats.first is not None]
    span = max(first + stats.span for first, stats in zip(firsts, found, strict=True)) - min(firsts)
    say(f"several: {best:.2f} s at best, {span:.2f} s from first request to last reply, {run.wall:.2f} s in all")
    return best / span, best / run.wall
