"""Measures and prints a table: python -m benchmarks TARGET [--only NAME]… [--repeats N] [--document]"""

from __future__ import annotations

import argparse
import compileall
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pipeline
from benchmarks import BUILD, batches, checkpoints, commits, datasets, memory, sending, startup, streams, waiting
from benchmarks.bench import Bench, say
from benchmarks.document import put_table
from benchmarks.server import Server
from benchmarks.table import Row, as_text, save

TARGETS: dict[str, dict[str, Callable[[Bench], Iterator[Row]]]] = {
    "quick": {
        "startup": startup.commands,
        "10k": sending.ten_thousand_rows,
        "commits": commits.durable_commits,
        "half-second": waiting.half_a_second,
        "memory": memory.first_only,
        "publishing": checkpoints.publish_few,
    },
    "full": {
        "startup": startup.commands,
        "10k": sending.ten_thousand_rows,
        "200k": sending.two_hundred_thousand_rows,
        "commits": commits.durable_commits,
        "half-second": waiting.half_a_second,
        "two-seconds": waiting.two_seconds,
        "ten-thousand": waiting.ten_thousand_in_flight,
        "twenty-thousand": waiting.twenty_thousand_in_flight,
        "memory": memory.small_prompts,
        "memory-large": memory.large_prompts,
        "publishing": checkpoints.publish_many,
        "resume": checkpoints.resume_million,
    },
    "tls": {"tls": waiting.over_tls},
    "datasets": {
        "samples": datasets.samples,
        "checks": datasets.checks,
        "images": datasets.images,
        "exports": datasets.exports,
        "inspect": datasets.inspect,
    },
    "servers": {
        "batches": batches.fifty_thousand_lines,
        "streams": streams.two_hundred_events,
        "several": streams.four_servers,
    },
    "scale": {
        "memory": memory.millions,
        "resume": checkpoints.resume_ten_million,
    },
}


def main() -> None:
    """Run one target; exits with 1 where a bar was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--only", action="append", metavar="NAME", help="this measurement alone; repeatable")
    parser.add_argument("--repeats", type=int, default=5, help="how often a quick figure is measured (default: 5)")
    parser.add_argument("--document", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    chosen = TARGETS[arguments.target]
    unknown = set(arguments.only or ()) - set(chosen)
    if unknown:
        parser.error(f"{arguments.target} has no {', '.join(sorted(unknown))}; it has {', '.join(chosen)}")

    BUILD.mkdir(exist_ok=True)
    # Where the shell keeps Python from writing bytecode, each start would compile the program anew.
    compileall.compile_dir(Path(pipeline.__file__).parent, quiet=1)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    rows: list[Row] = []
    with Server() as server:
        bench = Bench(server, arguments.repeats)
        for name, measurement in chosen.items():
            if arguments.only is None or name in arguments.only:
                say(f"== {name}")
                rows += measurement(bench)
    print(as_text(rows))
    save(rows, BUILD / "results" / f"{arguments.target}.jsonl")
    if arguments.document:
        put_table(arguments.target, rows, plot=True)
    sys.exit(any(row.is_missed for row in rows))


if __name__ == "__main__":
    main()
