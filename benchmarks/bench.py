"""What the measurements share: the server, repeated and interleaved runs, and the bare loops beside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks import BUILD
from benchmarks.job import MODELS, Job, Run
from benchmarks.process import measure
from benchmarks.server import Server

First = TypeVar("First")
Second = TypeVar("Second")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Bench:
    """A server, and how often each quick figure is measured."""

    server: Server
    repeats: int = 5

    def aiohttp_loop(self, job: Job, seed: int = 0) -> Run:
        """Run a bare aiohttp loop as a process over the requests of a job. Raises RuntimeError if it fails."""
        return self._loop("aiohttp_loop", job, seed, BUILD / "aiohttp.parquet")[0]

    def socket_loop(self, job: Job) -> tuple[float, float]:
        """Return requests per second and CPU seconds per request of a process on raw sockets, for a job's requests."""
        _, output = self._loop("socket_loop", job, 0)
        found = json.loads(output)
        return found["requests_per_second"], found["cpu_per_request"]

    def _loop(self, name: str, job: Job, seed: int, *output: Path) -> tuple[Run, str]:
        log = BUILD / f"{name}.log"
        url = self.server.url(job.kind, job.prefix)
        words: list[str | Path] = [job.prompts, *output, url, MODELS[job.kind], str(job.concurrency)]
        self.server.reset(seed)
        measured = measure([sys.executable, "-m", f"benchmarks.limits.{name}", *words], log)
        if measured.exit_code:
            raise RuntimeError(f"{name} ended with exit code {measured.exit_code}; see {log}")
        return Run(measured, self.server.stats(), job.rows), measured.output

    def interleaved(
        self, first: Callable[[int], First], second: Callable[[int], Second]
    ) -> tuple[list[First], list[Second]]:
        """Measure two things in turns; they are given the number of the turn."""
        pairs = [(first(turn), second(turn)) for turn in range(self.repeats)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def say(text: str) -> None:
    """Tell what is going on, on stderr."""
    print(text, file=sys.stderr, flush=True)


def median_of(found: Sequence[Item], value: Callable[[Item], float]) -> float:
    """Return the median of a figure over several runs."""
    return median(map(value, found))


def fresh(job: Job, seed: int = 0, look_seconds: float = 0.25) -> Run:
    """Run a job from its beginning and tell about it; its memory is looked at every `look_seconds`."""
    job.begin()
    run = job.run(seed=seed, look_seconds=look_seconds)
    say(
        f"{job.name}: {run.rows} rows in {run.wall:.2f} s, {run.rows_per_second:.0f} rows/s,"
        f" {1000 * run.cpu_per_row:.2f} ms of CPU a row, peak {run.measured.peak_bytes / 1e6:.0f} MB"
    )
    return run
