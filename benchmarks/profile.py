"""Where a run spends its time: python -m benchmarks.profile [--rows N] [--concurrency N] [--gil]

py-spy looks at every thread of every process of the run 200 times a second. Two tables: the functions that were at work
themselves, and those that were somewhere on a working thread's stack. Percentages are of all looks at a working thread.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.inputs import prompts
from benchmarks.job import COMMAND, Job
from benchmarks.server import Server

_SHOWN = 30


def count_frames(stacks: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """How often each function was at work itself, and how often it was on a stack.

    `stacks` are collapsed ones, a line each: the frames from the outermost on, parted by `;`, a blank, their number.
    """
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks:
        stack, _, number = line.strip().rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith(("process ", "thread "))]
        if frames:
            alone[frames[-1]] += int(number)
            within.update(dict.fromkeys(frames, int(number)))
    return alone, within


def as_text(title: str, counted: Counter[str], total: int) -> str:
    """Return the most frequent functions, a line each."""
    lines = (f"{100 * number / total:5.1f}%  {frame}" for frame, number in counted.most_common(_SHOWN))
    return "\n".join([title, "-" * len(title), *lines])


def main() -> None:
    """Profile one run."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.profile")
    parser.add_argument("-n", "--rows", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--gil", action="store_true", help="only threads that hold the interpreter's lock")
    arguments = parser.parse_args()
    stacks = BUILD / "profile.txt"
    with Server() as server:
        job = Job("profile", server, prompts(arguments.rows), arguments.rows, arguments.concurrency)
        job.begin()
        words = ["record", "--subprocesses", "--function", "--rate", "200", "--format", "raw", "--output"]
        spy: list[str | Path] = [COMMAND.with_name("py-spy"), *words, stacks, *(["--gil"] if arguments.gil else [])]
        run = job.run("run", "--json", wrapper=[*spy, "--", COMMAND])
    say(f"{run.rows} rows in {run.wall:.2f} s, {run.rows_per_second:.0f} rows/s while looked at")
    with stacks.open(encoding="utf-8") as file:
        alone, within = count_frames(file)
    print(as_text("at work themselves", alone, alone.total()))
    print()
    print(as_text("on the stack", within, alone.total()))


if __name__ == "__main__":
    main()
