"""Runs the peers beside ours: python -m benchmarks.peers [--rows N] [--repeats N] [--only NAME]… [--document]"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pyarrow.compute as pc
import pyarrow.dataset as ds

from benchmarks import BUILD
from benchmarks.bench import fresh, median_of, say
from benchmarks.document import put_table
from benchmarks.inputs import answer, prompts
from benchmarks.job import MODELS, Job, Run
from benchmarks.peers import cookbook
from benchmarks.peers.environments import python_of
from benchmarks.process import measure
from benchmarks.server import PATHS, Server
from benchmarks.table import Row, as_text, at_least, save

OURS = "this program"
CONCURRENCY = 128
_LEAST_OF_BEST = 8.0
_MOST_SECONDS = 600
ENVIRONMENTS = {
    "cookbook": "openai",
    "openai_aiohttp": "openai",
    "openai_client": "openai",
    "curator": "curator",
    "litellm_acompletion": "litellm",
    "langchain_batch": "langchain",
    "datatrove": "datatrove",
    "distilabel": "distilabel",
    "ray_data": "ray",
    "saturate_pump": "saturate",
    "flexllm_batch": "flexllm",
    "async_batch_llm_prompts": "async_batch_llm",
}
"""The environment of each peer, by the name of its module."""
QUIET = {
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TELEMETRY_ENABLED": "false",
    "OPENAI_API_KEY": "sk-benchmark-0123456789",
}
"""Has the peers leave the network alone, but for the server."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run of a peer, or of ours, and how many rows of its output hold the right answer."""

    run: Run
    right: int


def right_rows(output: Path, rows: int) -> int:
    """How many of the rows from 0 on have exactly one answer in a Parquet file or directory, and the right one."""
    if not output.exists():
        return 0
    table = ds.dataset(output, format="parquet").to_table(columns=["id", "response"])
    found: dict[int, str] = {}
    doubled = set()
    for row, response in zip(pc.cast(table["id"], "int64").to_pylist(), table["response"].to_pylist(), strict=True):
        if row in found:
            doubled.add(row)
        found[row] = response
    return sum(found.get(row) == answer(row) and row not in doubled for row in range(rows))


def run_ours(server: Server, rows: int) -> Result:
    """Run this program on the same rows."""
    job = Job("peers", server, prompts(rows), rows, CONCURRENCY, kind="openai")
    run = fresh(job)
    return Result(run, right_rows(job.output, rows))


def run_peer(name: str, python: Path, server: Server, rows: int) -> Result:
    """One run of a peer as a whole process."""
    directory = BUILD / "jobs" / f"peer-{name}"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "home").mkdir(parents=True)
    output = directory / "answers.parquet"
    base = server.url("openai").removesuffix(PATHS["openai"]) + "/v1"
    words: list[str | Path] = [prompts(rows), output, base, MODELS["openai"], str(CONCURRENCY), directory]
    environment = {**QUIET, "HOME": str(directory / "home"), **token_encodings()}
    server.reset()
    measured = measure(
        [python, "-m", f"benchmarks.peers.{name}", *words],
        BUILD / "jobs" / f"peer-{name}.log",
        environment=environment,
        most_seconds=_MOST_SECONDS,
    )
    run = Run(measured, server.stats(), rows)
    result = Result(run, right_rows(output, rows))
    say(f"{name}: {run.rows_per_second:.0f} rows/s, exit code {measured.exit_code}, {result.right} of {rows} right")
    return result


def token_encodings(environment: str = "litellm") -> dict[str, str]:
    """LiteLLM carries the encodings that tiktoken would else fetch from the network."""
    found = next(
        (BUILD / "peers" / environment).glob("lib/*/site-packages/litellm/litellm_core_utils/tokenizers"), None
    )
    return {} if found is None else {"TIKTOKEN_CACHE_DIR": str(found)}


def rows_of(results: dict[str, list[Result]], rows: int, skipped: dict[str, str]) -> Iterator[Row]:
    """Return the table, the fastest first. Only peers with every row right have figures and are compared with ours."""
    whole = {name: found for name, found in results.items() if min(one.right for one in found) == rows}
    fastest = sorted(whole, key=lambda name: -median_of(whole[name], lambda one: one.run.rows_per_second))
    best = next((name for name in fastest if name != OURS), None)
    for name in fastest:
        bar, used = "", None
        if name == OURS and best is not None:
            pairs = zip(whole[OURS], whole[best], strict=True)
            ratio = median(our.run.rows_per_second / peer.run.rows_per_second for our, peer in pairs)
            bar, used = f"≥ {_LEAST_OF_BEST} times {best}: {ratio:.2f}", at_least(ratio, _LEAST_OF_BEST)
        yield Row(name, _figures(whole[name]), "", bar, used)
    for name in results.keys() - whole.keys():
        worst = min(results[name], key=lambda one: one.right)
        yield Row(name, f"failed: {worst.right} of {rows} rows right, exit code {worst.run.measured.exit_code}")
    for name, reason in skipped.items():
        yield Row(name, f"skipped: {reason}")


def _figures(found: list[Result]) -> str:
    rate = median_of(found, lambda one: one.run.rows_per_second)
    sending = median_of(found, lambda one: one.run.stats.requests / one.run.stats.span)
    cpu = 1000 * median_of(found, lambda one: one.run.cpu_per_row)
    peak = max(one.run.measured.peak_bytes for one in found) / 1e6
    return f"{rate:.0f} rows/s ({sending:.0f} while sending), {cpu:.2f} ms of CPU a row, peak {peak:.0f} MB"


def main() -> None:
    """Run all peers in turns; exits with 1 where the bar was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.peers")
    parser.add_argument("-n", "--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", action="append", choices=ENVIRONMENTS, help="this peer alone; repeatable")
    parser.add_argument("--document", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    pythons, skipped = {}, {}
    for name in arguments.only or ENVIRONMENTS:
        if name == "cookbook" and not cookbook.SCRIPT.exists():
            skipped[name] = f"{cookbook.SCRIPT.relative_to(BUILD.parents[1])} is not there"
            continue
        try:
            pythons[name] = python_of(ENVIRONMENTS[name])
        except subprocess.CalledProcessError as error:
            skipped[name] = f"its environment cannot be made: {error}"
    results: dict[str, list[Result]] = {name: [] for name in (OURS, *pythons)}
    with Server() as server:
        for _ in range(arguments.repeats):
            results[OURS].append(run_ours(server, arguments.rows))
            for name, python in pythons.items():
                results[name].append(run_peer(name, python, server, arguments.rows))
    rows = list(rows_of(results, arguments.rows, skipped))
    print(as_text(rows))
    save(rows, BUILD / "results" / "peers.jsonl")
    if arguments.document:
        put_table("peers", rows)
    sys.exit(any(row.is_missed for row in rows))


if __name__ == "__main__":
    main()
