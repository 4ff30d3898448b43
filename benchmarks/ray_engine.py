"""Rows a second by two senders of Ray beside the local engine, in turns, and the memory of the run itself:
python -m benchmarks.ray_engine [--repeats N] [--rows N]… [--document]

Runs join the cluster of this machine, where there is one (`ray start --head`); else each starts its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks import BUILD
from benchmarks.bench import Bench, say
from benchmarks.document import put_table
from benchmarks.inputs import prompts
from benchmarks.job import Job, Run
from benchmarks.memory import BYTES_PER_ROW, GROWTH, LOOK_SECONDS
from benchmarks.process import Tree, held_bytes
from benchmarks.server import Server
from benchmarks.table import Row, as_text, at_least, at_most, save

_RATE_ROWS = (10_000, 60_000)
"""The first are sent within a second or two, in which the cluster's own processes still start."""
_LEAST_SHARE = 0.9
_TWO_SENDERS = ("--set", "limits.processes=3")
_RAY = ("run", "--json", "--engine", "ray", *_TWO_SENDERS)
_LOCAL = {"as it is by default": ("run", "--json"), "with two senders": ("run", "--json", *_TWO_SENDERS)}


def rates(bench: Bench, size: int) -> Iterator[Row]:
    """Measure from the first request to the last reply, so that starts count in a line of their own."""
    job = Job(f"ray-rate-{size}", bench.server, prompts(size), size, 128)
    turns = [[_rate(job, words) for words in (_RAY, *_LOCAL.values())] for _ in range(bench.repeats)]
    for number, name in enumerate(_LOCAL, 1):
        share = median(turn[0][0] / turn[number][0] for turn in turns)
        ray, local = (median(turn[index][0] for turn in turns) for index in (0, number))
        yield Row(
            f"{size:,} rows, zero latency, two actors",
            f"{ray:.0f} rows/s, {share:.2f} of the local engine",
            f"local engine {name}: {local:.0f} rows/s",
            f"≥ {_LEAST_SHARE}",
            at_least(share, _LEAST_SHARE),
        )
    yield Row(
        f"{size:,} rows, from the command to the first request",
        f"{median(turn[0][1] for turn in turns):.1f} s",
        f"local engine: {median(turn[1][1] for turn in turns):.1f} s",
    )


def memory(bench: Bench, sizes: Sequence[int]) -> Iterator[Row]:
    """Measure the process that plans and records, without Ray's own."""
    first = 0
    for size in sizes:
        job = Job(f"ray-{size}", bench.server, prompts(size), size, 128)
        job.begin()
        peak = 0

        def watch(tree: Tree) -> None:
            nonlocal peak
            peak = max(peak, held_bytes({tree.pid}))

        job.run(*_RAY, watch=watch, look_seconds=LOOK_SECONDS)
        say(f"{size:,} rows: the run held {peak / 1e6:.0f} MB at most")
        first = first or peak
        most = first * GROWTH + BYTES_PER_ROW * size
        bar = "" if peak == first else f"≤ {most / 1e6:.0f} MB (10% and 16 bytes a row more)"
        used = None if peak == first else at_most(peak, most)
        yield Row(f"memory of the run, {size:,} rows, without Ray's processes", f"{peak / 1e6:.0f} MB", "", bar, used)


def _rate(job: Job, words: Sequence[str]) -> tuple[float, float]:
    """Return rows a second while it sent, and the seconds to its first request."""
    job.begin()
    run: Run = job.run(*words)
    rate = run.rows / run.stats.span
    say(f"{' '.join(words)}: {rate:.0f} rows/s, {1000 * run.cpu_per_row:.2f} ms of CPU a row in all")
    return rate, run.to_first_request


def main() -> None:
    """Print the table; exits with 1 where a bar was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.ray_engine")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, action="append", help="a size to measure memory at; repeatable")
    parser.add_argument("--document", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    with Server() as server:
        bench = Bench(server, arguments.repeats)
        rates_found = [row for size in _RATE_ROWS for row in rates(bench, size)]
        rows = [*rates_found, *memory(bench, arguments.rows or (20_000, 200_000, 2_000_000))]
    print(as_text(rows))
    save(rows, BUILD / "results" / "ray.jsonl")
    if arguments.document:
        put_table("ray", rows)
    sys.exit(any(row.is_missed for row in rows))


if __name__ == "__main__":
    main()
