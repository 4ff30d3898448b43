"""Measures a few runs, holds the simulation to others, and plans a billion rows: python -m benchmarks.scaling."""

from __future__ import annotations

import argparse
import compileall
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pipeline
from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.document import SCALING, put_text
from benchmarks.inputs import prompts
from benchmarks.job import COMMAND, KEY, Job, Run
from benchmarks.process import Measured, measure, used_cpu
from benchmarks.scaling.billion import HEADINGS, cost_usd, plan_cells
from benchmarks.scaling.model import Costs, Outcome, Work, simulate
from benchmarks.server import Server
from benchmarks.table import Row, as_markdown, as_text, at_most, markdown, save

CORES = 2
FEW, MANY = 2_000, 60_000
SHARDS, AT_ONCE = 16, 4
WITHIN = 0.1
COSTS = BUILD / "results" / "scaling-costs.json"


def main() -> None:
    """Measure, compare and plan; exits with 1 where the simulation is more than a tenth off."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.scaling")
    parser.add_argument("--repeats", type=int, default=3, help="how often each run is measured (default: 3)")
    parser.add_argument("--document", action="store_true", help="put the tables into docs/scaling.md")
    arguments = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    compileall.compile_dir(Path(pipeline.__file__).parent, quiet=1)
    with Server() as server:
        costs = calibrate(server, arguments.repeats)
        say(f"costs: {costs}")
        compared = list(compare(server, costs, arguments.repeats))
    COSTS.parent.mkdir(parents=True, exist_ok=True)
    COSTS.write_text(json.dumps(asdict(costs)), encoding="utf-8")
    planned = markdown(HEADINGS, plan_cells(costs))
    print(as_text(compared), planned, f"{cost_usd():,.0f} USD", sep="\n\n")
    save(compared, BUILD / "results" / "scaling.jsonl")
    if arguments.document:
        put_text("scaling", as_markdown(compared), SCALING)
        put_text("billion", planned, SCALING)
    sys.exit(any(row.is_missed for row in compared))


def calibrate(server: Server, repeats: int) -> Costs:
    """Derive the costs of a run from runs of few and of many rows without latency, and from one shard."""
    few, many = (Job(f"scaling-{rows}", server, prompts(rows), rows, 128) for rows in (FEW, MANY))
    shard = Job("scaling-shard", server, prompts(MANY), MANY, 128)
    small, large, parts = [], [], []
    served = 0.0
    for _ in range(repeats):
        small.append(_fresh(few))
        served -= used_cpu({server.pid})
        large.append(_fresh(many))
        served += used_cpu({server.pid})
        parts.append(_fresh(shard, "run", "--json", "--shard", f"3/{SHARDS}"))
    start, plan = _line(small, large, lambda run: run.to_first_request)
    finish, publish = _line(small, large, lambda run: run.wall - run.to_first_request - run.stats.span)
    span = median(run.stats.span / run.rows for run in large)
    once, a_row = _line(small, large, lambda run: run.measured.cpu)
    send = a_row - plan - publish
    start += max(0.0, once - start - finish)  # senders that start beside the plan
    own = median(run.rows for run in parts)
    part = median(run.measured.cpu for run in parts)
    read = (part - start - finish - own * a_row) / (MANY - own)
    server_cpu = served / (repeats * MANY)
    files = [file for file in many.checkpoint.rglob("*") if file.is_file()]
    return Costs(
        start=start,
        plan=plan,
        send=send,
        publish=publish,
        finish=finish,
        read=max(0.0, read),
        send_cores=min(CORES, (send + server_cpu) / span),
        server=server_cpu,
        journal_bytes=sum(file.stat().st_size for file in files) / MANY,
        output_bytes=many.output.stat().st_size / MANY,
        memory_bytes=max(run.measured.peak_bytes for run in large),
    )


def compare(server: Server, costs: Costs, repeats: int) -> Iterator[Row]:
    """Measure runs that the costs were not derived from, and say how far off the simulation is."""
    cases = [
        (
            "20,000 rows, no latency, 128 in flight",
            Job("scaling-20k", server, prompts(20_000), 20_000, 128),
            Work(20_000, 128),
        ),
        (
            "5,000 rows, log-normal latency of 0.5 s, 128 in flight",
            Job("scaling-half", server, prompts(5_000), 5_000, 128, prefix="/lognormal/0.5/0.5"),
            Work(5_000, 128, 0.5, 0.5),
        ),
        (
            "20,000 rows, latency of 2 s, 1,024 in flight",
            Job("scaling-two", server, prompts(20_000), 20_000, 1_024, prefix="/fixed/2"),
            Work(20_000, 1_024, 2.0),
        ),
    ]
    for what, job, work in cases:
        measured = [_fresh(job) for _ in range(repeats)]
        wall, cpu = median(run.wall for run in measured), median(run.measured.cpu for run in measured)
        yield _compared(what, wall, cpu, simulate([work], costs, cores=CORES, at_once=1))
    limited = Job("scaling-rate", server, prompts(2_000), 2_000, 128)
    runs = [_fresh(limited, "run", "--json", "--set", "limits.requests_per_minute=3000") for _ in range(repeats)]
    wall, cpu = median(run.wall for run in runs), median(run.measured.cpu for run in runs)
    work = Work(2_000, 128, per_minute=3_000)
    yield _compared("2,000 rows at 3,000 requests a minute", wall, cpu, simulate([work], costs, cores=CORES, at_once=1))
    parts = Job("scaling-parts", server, prompts(MANY), MANY, 128)
    found = [_shards(parts) for _ in range(repeats)]
    wall, cpu = median(one.wall for one in found), median(one.cpu for one in found)
    own = MANY // SHARDS
    works = [Work(own, 128, read_past=MANY - own)] * SHARDS
    simulated = simulate(works, costs, cores=CORES, at_once=AT_ONCE)
    yield _compared(f"{MANY:,} rows in {SHARDS} shards, {AT_ONCE} at a time", wall, cpu, simulated)


def _compared(what: str, wall: float, cpu: float, simulated: Outcome) -> Row:
    off = abs(simulated.wall / wall - 1)
    say(f"{what}: {wall:.2f} s and {cpu:.2f} s of CPU; simulated {simulated.wall:.2f} s and {simulated.cpu:.2f} s")
    return Row(
        what,
        f"{wall:.1f} s, {cpu:.1f} s of CPU",
        f"simulated: {simulated.wall:.1f} s, {simulated.cpu:.1f} s of CPU",
        f"time within {WITHIN:.0%}",
        at_most(off, WITHIN),
    )


def _fresh(job: Job, *words: str) -> Run:
    job.begin()
    return job.run(*words)


def _shards(job: Job) -> Measured:
    """Run all shards of a job, some at a time. Raises RuntimeError if one fails."""
    job.begin()
    numbers = "\n".join(f"{number}/{SHARDS}" for number in range(1, SHARDS + 1))
    list_of = job.directory / "shards"
    list_of.write_text(numbers, encoding="utf-8")
    command = f"xargs -P {AT_ONCE} -I% {COMMAND} run {job.file} --json --shard % < {list_of}"
    found = measure(["sh", "-c", command], job.directory / "log", environment=KEY)
    if found.exit_code:
        raise RuntimeError(f"the shards ended with exit code {found.exit_code}; see {job.directory / 'log'}")
    return found


def _line(small: Sequence[Run], large: Sequence[Run], value: Callable[[Run], float]) -> tuple[float, float]:
    """Return what a figure is without rows, and for each row."""
    low, high = median(map(value, small)), median(map(value, large))
    slope = (high - low) / (MANY - FEW)
    return low - FEW * slope, slope


if __name__ == "__main__":
    main()
