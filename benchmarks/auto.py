"""How fast `limits.concurrency: auto` is on servers of which the best number is known, compared with that number:
python -m benchmarks.auto [--only BEST]… [--seconds N] [--document]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.document import put_table
from benchmarks.inputs import prompts
from benchmarks.job import COMMAND, KEY, MODELS, PARAMETERS
from benchmarks.table import Row, as_text, at_least, at_most, save

SERVERS = {8: 0.25, 64: 0.5, 700: 2.0}
"""The mean latency in seconds, by how many requests a server works on at once."""
PATHS = {"dataoorts": "/api/v1", "openai": "/v1"}
_SPREAD = 0.5
_FIRST_MINUTE = 60.0
_LEAST_RATE, _MOST_LATENCY = 0.95, 1.3
_STOPPED_BY_DEADLINE = 4


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did after its first minute: rows a second and their mean latency in seconds, and what it found."""

    rate: float
    latency: float
    in_flight: int
    limited_by: str


@contextmanager
def simulator(best: int) -> Iterator[str]:
    """Run the embedded endpoint as a process and give its address."""
    flags = ["--best-concurrency", str(best), "--latency-seconds", str(SERVERS[best]), "--latency-spread", str(_SPREAD)]
    with subprocess.Popen([COMMAND, "simulate", *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run_one(best: int, concurrency: int | str, kind: str, seconds: float) -> Result:
    """Run a job that its deadline ends, on a server that takes `best` requests at once.

    Raises RuntimeError if it ends otherwise.
    """
    rows = math.ceil(1.3 * best / SERVERS[best] * seconds)
    directory = BUILD / "jobs" / "auto"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with simulator(best) as address:
        job = {
            "name": "auto",
            "input": {"path": str(prompts(rows)), "id": "id", "columns": ["id"]},
            "prompt": {"column": "prompt"},
            "endpoint": {
                "kind": kind,
                "url": address + PATHS[kind],
                "model": MODELS["dataoorts"],
                "api_key_env": next(iter(KEY)),
            },
            "parameters": PARAMETERS,
            "limits": {"concurrency": concurrency, "deadline_seconds": seconds},
            "checkpoint": {"path": str(directory / "checkpoint")},
            "output": {"path": str(directory / "answers.parquet")},
        }
        file = directory / "job.yaml"
        file.write_text(json.dumps(job), encoding="utf-8")  # JSON is YAML
        done = subprocess.run(
            [COMMAND, "run", file, "--json"], capture_output=True, text=True, check=False, env={**os.environ, **KEY}
        )
    if done.returncode != _STOPPED_BY_DEADLINE:
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout}{done.stderr}")
    return _after_the_first_minute(json.loads(done.stdout), seconds)


def _after_the_first_minute(summary: dict[str, object], seconds: float) -> Result:
    answers = pq.read_table(str(summary["output"]), columns=["started_at", "finished_at", "latency_seconds"])
    since = pc.min(answers["started_at"]).as_py().timestamp() + _FIRST_MINUTE
    finished = [stamp.timestamp() for stamp in answers["finished_at"].to_pylist()]
    latencies = answers["latency_seconds"].to_pylist()
    until = since + seconds - _FIRST_MINUTE - 1.0
    late = [latency for stamp, latency in zip(finished, latencies, strict=True) if since <= stamp < until]
    return Result(
        len(late) / (until - since),
        sum(late) / max(1, len(late)),
        int(str(summary.get("concurrency", 0))),
        str(summary.get("limited_by", "")),
    )


def rows_of(best: int, seconds: float) -> Iterator[Row]:
    """Measure one server: the best number first, then what is found, without and with what the server tells."""
    say(f"{best}: the best number itself")
    fixed = run_one(best, best, "dataoorts", seconds)
    for words, kind in (("auto", "dataoorts"), ("auto, with the server's metrics", "openai")):
        say(f"{best}: {words}")
        found = run_one(best, "auto", kind, seconds)
        rate, latency = found.rate / fixed.rate, found.latency / fixed.latency
        yield Row(
            f"a server that takes {best} at once, {SERVERS[best]:g} s each: {words}",
            f"{found.rate:.1f} rows/s ({rate:.3f}), {found.latency:.2f} s ({latency:.2f}),"
            f" {found.in_flight} in flight at the end, limited by {found.limited_by}",
            f"concurrency: {best}: {fixed.rate:.1f} rows/s, {fixed.latency:.2f} s",
            f"≥ {_LEAST_RATE} of its rows/s, ≤ {_MOST_LATENCY} times its latency",
            max(at_least(rate, _LEAST_RATE), at_most(latency, _MOST_LATENCY)),
        )


def main() -> None:
    """Run all; exits with 1 if a bar was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.auto")
    parser.add_argument("--only", action="append", type=int, choices=SERVERS, help="this server alone; repeatable")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="how long a run lasts; its first minute is left out"
    )
    parser.add_argument("--document", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    if arguments.seconds <= _FIRST_MINUTE + 1:
        parser.error("--seconds has to be more than a minute")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    table = [row for best in arguments.only or SERVERS for row in rows_of(best, arguments.seconds)]
    print(as_text(table))
    save(table, BUILD / "results" / "auto.jsonl")
    if arguments.document:
        put_table("auto", table)
    sys.exit(any(row.is_missed for row in table))


if __name__ == "__main__":
    main()
