"""Replies as streams of events beside whole ones, and several servers behind one queue."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench, fresh, median_of, say
from benchmarks.inputs import prompts
from benchmarks.job import COMMAND, MODELS, Job
from benchmarks.table import Row, at_least, at_most

_ROWS, _EVENTS = 10_000, 200
_SECONDS, _AT_ONCE, _SLOWER = 0.04, 8, 10
_OF_SEVERAL = 12_000


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
    """Measure four servers that take eight requests at once each, one of them at a tenth of the speed."""
    rates = [_AT_ONCE / seconds for seconds in _latencies()]
    best = _OF_SEVERAL / sum(rates)
    with _servers() as urls:
        job = Job(
            "several",
            bench.server,
            prompts(_OF_SEVERAL),
            _OF_SEVERAL,
            40,
            kind="openai",
            endpoint={"url": urls, "model": MODELS["dataoorts"]},
        )
        job.begin()
        run = job.run()
    used = best / run.wall
    say(f"several: {run.wall:.1f} s, {used:.3f} of the best assignment")
    yield Row(
        f"four servers, one at a tenth of the speed, {_OF_SEVERAL:,} rows",
        f"{used:.3f} of the best assignment, the command's start included",
        f"best: each of them busy all the time, {best:.1f} s",
        "≥ 0.95",
        at_least(used, 0.95),
    )


def _latencies() -> list[float]:
    return [_SECONDS] * 3 + [_SECONDS * _SLOWER]


@contextmanager
def _servers() -> Iterator[list[str]]:
    with ExitStack() as stack:
        urls = []
        for seconds in _latencies():
            words: list[str | Path] = [
                COMMAND,
                "simulate",
                "--latency-seconds",
                str(seconds),
                "--best-concurrency",
                str(_AT_ONCE),
            ]
            process = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            stack.callback(process.terminate)
            assert process.stdout is not None
            urls.append(f"{process.stdout.readline().strip()}/v1")
        yield urls
