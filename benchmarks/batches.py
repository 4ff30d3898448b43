"""What a provider's batches cost: their lines written, their answers read into the journal, and the memory for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.bench import Bench, say
from benchmarks.inputs import prompts
from benchmarks.job import Job
from benchmarks.table import Row, at_least, at_most

_LINES = 50_000
_SHORT, _LONG = 700, 4_000
_MEGABYTES = 1e6


def fifty_thousand_lines(bench: Bench) -> Iterator[Row]:
    """Measure a batch of as many lines as one may have, with answers of 700 characters."""
    found = [_times(bench, _SHORT) for _ in range(bench.repeats)]
    lines, filled, read = (median(_LINES / times[name] for times, _ in found) for name in ("lines", "fill", "collect"))
    yield Row(
        "a batch of 50,000 lines: its file, from requests",
        f"{lines:,.0f} lines/s of CPU",
        "",
        "≥ 50,000 lines/s",
        at_least(lines, 50_000),
    )
    yield Row(
        "the same with reading the input, rendering, and what each line reserves", f"{filled:,.0f} lines/s of CPU"
    )
    yield Row(
        "its answers, from the file into the journal",
        f"{read:,.0f} lines/s of CPU",
        "",
        "≥ 30,000 lines/s",
        at_least(read, 30_000),
    )
    base = min(peak for _, peak in found)
    _, peak = _times(bench, _LONG)
    beside = (peak - base) / _MEGABYTES
    yield Row(
        f"a file of {_LINES * (_LONG + 550) / _MEGABYTES:.0f} MB with its answers: peak memory",
        f"{peak / _MEGABYTES:.0f} MB, {beside:.0f} MB beside the base",
        f"base, answers of {_SHORT} characters: {base / _MEGABYTES:.0f} MB",
        "≤ 150 MB beside the base",
        at_most(beside, 150),
    )


def _times(bench: Bench, length: int) -> tuple[dict[str, float], float]:
    """Run a job; return the CPU seconds of its parts, and its peak memory in bytes."""
    with _provider(length) as url:
        batch = {"batch": {"requests": _LINES, "megabytes": 200, "poll_seconds": 0.1}}
        job = Job("batches", bench.server, prompts(_LINES), _LINES, kind="openai", endpoint={"url": url, **batch})
        job.begin()
        times_path = job.directory / "times.json"
        run = job.run(wrapper=(sys.executable, "-m", "benchmarks.instrumented", times_path), look_seconds=0.1)
        found: dict[str, Any] = json.loads(times_path.read_text(encoding="utf-8"))
    parts = {name: sum(found[name]) for name in ("lines", "fill", "collect")}
    peak = run.measured.peak_bytes
    say(f"batches: {', '.join(f'{name} {seconds:.2f} s' for name, seconds in parts.items())}, {peak / 1e6:.0f} MB")
    return parts, peak


@contextmanager
def _provider(length: int) -> Iterator[str]:
    words = [sys.executable, "-m", "benchmarks.batch_provider", str(length)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()
