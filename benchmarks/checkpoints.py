"""Large checkpoints: how soon a resumed run sends, and how fast the output is written."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import BUILD
from benchmarks.bench import Bench, fresh, median_of, say
from benchmarks.inputs import prompts
from benchmarks.job import KEY, Job
from benchmarks.memory import BYTES_PER_ROW, GROWTH, MOST_BYTES, most_bytes
from benchmarks.process import Tree, measure
from benchmarks.table import Row, at_least, at_most

_LEFT = 500
_LEFT_ANEW = 1000


def publish_few(bench: Bench) -> Iterator[Row]:
    """Measure publishing of 50,000 rows, for the quick table."""
    yield from _publishing(bench, 50_000)


def publish_many(bench: Bench) -> Iterator[Row]:
    """Measure publishing of 200,000 rows."""
    yield from _publishing(bench, 200_000)


def resume_million(bench: Bench) -> Iterator[Row]:
    """Measure a resumed run with a million rows done."""
    yield from _resume(bench, 1_000_000, 5, 60)


def resume_ten_million(bench: Bench) -> Iterator[Row]:
    """Measure a resumed run with ten million rows done; its checkpoint takes ten gigabytes or so."""
    yield from _resume(bench, 10_000_000, 30, 600)


def filled(job: Job, done: int, answer_bytes: int) -> None:
    """Make a checkpoint in which so many rows are done."""
    say(f"{job.name}: making a checkpoint with {done:,} rows done")
    job.begin()
    job.run("run", "--limit", "10")
    module: list[str | Path] = [sys.executable, "-m", "benchmarks.fill", job.file, str(done), str(answer_bytes)]
    if measure(module, job.directory / "fill.log", environment=KEY, look_seconds=1).exit_code:
        raise RuntimeError(f"the checkpoint could not be filled; see {job.directory / 'fill.log'}")


def _publishing(bench: Bench, rows: int) -> Iterator[Row]:
    job = Job("publishing", bench.server, prompts(rows), rows, prefix="/bytes/1000", columns=("id",))
    filled(job, rows, 1000)
    times_path, copied = job.directory / "times.json", job.directory / "copy.parquet"
    journal = job.checkpoint / "journal.sqlite"
    peaks = []

    def publish(turn: int) -> tuple[float, float]:
        job.output.unlink(missing_ok=True)
        run = job.run(wrapper=(sys.executable, "-m", "benchmarks.instrumented", times_path))
        peaks.append(run.measured.peak_bytes)
        ((seconds, cpu),) = json.loads(times_path.read_text(encoding="utf-8"))["publish"]
        return float(seconds), float(cpu)

    def copy(turn: int) -> tuple[float, float]:
        module: list[str | Path] = [sys.executable, "-m", "benchmarks.limits.bare_copy", journal, copied, job.prompts]
        measured = measure(module, job.directory / "copy.log")
        if measured.exit_code:
            raise RuntimeError(f"the bare copy failed; see {job.directory / 'copy.log'}")
        found: dict[str, Any] = json.loads(measured.output)
        return float(found["seconds"]), float(found["cpu"])

    ours, copies = bench.interleaved(publish, copy)
    share = median(bare / our for (our, _), (bare, _) in zip(ours, copies, strict=True))
    most = MOST_BYTES * GROWTH + BYTES_PER_ROW * rows
    yield Row(
        f"publishing {rows:,} answers of 1 kB",
        f"{_rate(ours, rows)}, {share:.2f} of the copy's speed, peak {max(peaks) / 1e6:.0f} MB",
        f"bare copy {_rate(copies, rows)}",
        f"≥ 0.9 of the copy, ≤ {most / 1e6:.0f} MB",
        max(at_least(share, 0.9), at_most(max(peaks), most)),
    )


def _rate(found: list[tuple[float, float]], rows: int) -> str:
    seconds, cpu = median_of(found, lambda one: one[0]), median_of(found, lambda one: one[1])
    return f"{rows / seconds:.0f} rows/s, {1e6 * cpu / rows:.0f} µs of CPU a row"


def _resume(bench: Bench, done: int, most_seconds: float, most_seconds_anew: float) -> Iterator[Row]:
    """First with input and settings unchanged, then with rows appended to the input."""
    small = fresh(Job("resume-small", bench.server, prompts(20_000), 20_000))
    whole = done + _LEFT
    job = Job(f"resume-{done}", bench.server, _growing(prompts(whole)), whole, prefix="/bytes/100")
    filled(job, done, 100)
    found = [_seconds_to_first(job, bench) for _ in range(bench.repeats)]
    first = median(found)
    say(f"resume with {done:,} rows done: first request after {first:.1f} s")
    yield Row(
        f"resume, {done:,} rows done: first request",
        f"{first:.1f} s",
        "",
        f"≤ {most_seconds} s",
        at_most(first, most_seconds),
    )
    last = job.run()
    yield _memory("the same, to its end", last.measured.peak_bytes, most_bytes(whole, small))

    _growing(prompts(whole + _LEFT_ANEW))
    anew = job.run()
    yield Row(
        f"resume, {done:,} rows done, rows appended to the input: first request",
        f"{anew.to_first_request:.1f} s",
        "",
        f"≤ {most_seconds_anew} s",
        at_most(anew.to_first_request, most_seconds_anew),
    )
    yield _memory("the same, to its end", anew.measured.peak_bytes, most_bytes(whole + _LEFT_ANEW, small))


def _growing(path: Path) -> Path:
    """Return a name that the input of a job keeps while its rows become more."""
    name = BUILD / "inputs" / "growing.parquet"
    name.unlink(missing_ok=True)
    name.hardlink_to(path)
    return name


def _seconds_to_first(job: Job, bench: Bench) -> float:
    """Measure a run that is stopped once it has sent something; it has no time for a partial output."""
    stopped: list[Tree] = []

    def stop(tree: Tree) -> None:
        if not stopped and bench.server.stats().requests:
            tree.signal(signal.SIGTERM)
            stopped.append(tree)

    words = ("run", "--limit", "20", "--set", "limits.drain_seconds=0.2")
    return job.run(*words, watch=stop, allowed=(0, 143)).to_first_request


def _memory(what: str, peak: float, most: float) -> Row:
    return Row(f"memory: {what}", f"{peak / 1e6:.0f} MB", "", f"≤ {most / 1e6:.0f} MB", at_most(peak, most))
