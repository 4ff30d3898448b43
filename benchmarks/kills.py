"""What a kill costs: each tool is killed at half of the requests and run again, beside other tools:
python -m benchmarks.kills [--rows N] [--only NAME]… [--document]
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.beside import arguments, finish, tools
from benchmarks.inputs import answer, prompts
from benchmarks.job import COMMAND, KEY, MODELS, Job
from benchmarks.peers import cookbook
from benchmarks.peers.__main__ import CONCURRENCY, OURS, QUIET
from benchmarks.process import Tree, measure
from benchmarks.server import PATHS, Server
from benchmarks.table import Row, at_most

PEERS = {
    "cookbook": "openai",
    "curator": "curator",
    "datatrove": "datatrove",
    "distilabel": "distilabel",
    "saturate_pump": "saturate",
    "flexllm_batch": "flexllm",
    "async_batch_llm_prompts": "async_batch_llm",
}
"""The environment of each peer that keeps answers on disk, by the name of its module."""
_PREFIX = "/fixed/0.1"
_LOOK_SECONDS = 0.02
_MOST_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Result:
    """What the server and the output show after the second run; `again` counts requests whose body it had before."""

    requests_at_kill: int
    again: int
    right: int
    lost: int
    doubled: int
    exit_code: int

    @property
    def text(self) -> str:
        """The figures of a table's line."""
        return (
            f"killed at {self.requests_at_kill} requests; {self.again} sent again; {self.lost} rows lost,"
            f" {self.doubled} doubled, {self.right} right; exit code {self.exit_code}"
        )


def outcome(output: Path, rows: int) -> tuple[int, int, int]:
    """Return how many rows are right, lost and doubled in a Parquet file or directory of ids and responses."""
    if not output.exists():
        return 0, rows, 0
    table = ds.dataset(output, format="parquet").to_table(columns=["id", "response"])
    ids = pc.cast(table["id"], "int64").to_pylist()
    counts = Counter(ids)
    found = dict(zip(ids, table["response"].to_pylist(), strict=True))
    right = sum(found.get(row) == answer(row) and counts[row] == 1 for row in range(rows))
    return right, sum(not counts[row] for row in range(rows)), sum(count > 1 for count in counts.values())


def run_twice(
    name: str, command: list[str | Path], environment: dict[str, str], server: Server, output: Path, rows: int
) -> Result:
    """Run a command, kill all of its processes at half of the requests, and run it to its end."""
    log = BUILD / "jobs" / f"kill-{name}.log"
    at_kill = 0

    def kill_at_half(tree: Tree) -> None:
        nonlocal at_kill
        if not at_kill and (requests := server.stats().requests) >= rows / 2:
            at_kill = requests
            tree.kill()

    server.reset()
    limits = {"environment": environment, "look_seconds": _LOOK_SECONDS, "most_seconds": _MOST_SECONDS}
    measure(command, log, watch=kill_at_half, **limits)  # type: ignore[arg-type]
    second = measure(command, log, **limits)  # type: ignore[arg-type]
    stats = server.stats()
    result = Result(at_kill, stats.requests - stats.unique, *outcome(output, rows), second.exit_code)
    say(f"{name}: {result.text}")
    return result


def run_ours(server: Server, rows: int) -> Result:
    """Run this program."""
    job = Job("kill", server, prompts(rows), rows, CONCURRENCY, kind="openai", prefix=_PREFIX)
    job.begin()
    return run_twice(OURS, [COMMAND, "run", job.file], dict(KEY), server, job.output, rows)


def run_peer(name: str, python: Path, server: Server, rows: int) -> Result:
    """Run a peer, in a directory that the second run finds as the first one left it."""
    directory = BUILD / "jobs" / f"kill-{name}"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "home").mkdir(parents=True)
    base = server.url("openai", _PREFIX).removesuffix(PATHS["openai"]) + "/v1"
    output = directory / "answers.parquet"
    words: list[str | Path] = [prompts(rows), output, base, MODELS["openai"], str(CONCURRENCY), directory]
    command = [python, "-m", f"benchmarks.peers.{name}", *words]
    return run_twice(name, command, {**QUIET, "HOME": str(directory / "home")}, server, output, rows)


def main() -> None:
    """Run all; exits with 1 if ours lost, doubled or sent more again than was in flight."""
    given = arguments("kills", __doc__, PEERS, rows=3000)
    rows, table = given.rows, list[Row]()
    peers = given.only or list(PEERS)
    if "cookbook" in peers and not cookbook.SCRIPT.exists():
        peers.remove("cookbook")
        table.append(Row("cookbook", f"skipped: {cookbook.SCRIPT.relative_to(BUILD.parents[1])} is not there"))
    with Server() as server:
        for name, python in tools(peers, PEERS, table):
            if python is not None:
                table.append(Row(name, run_peer(name, python, server, rows).text))
                continue
            ours = run_ours(server, rows)
            used = max(at_most(ours.again, CONCURRENCY), 2.0 * (ours.right != rows))
            bar = f"all rows right, at most {CONCURRENCY} sent again"
            table.append(Row(OURS, ours.text, f"{CONCURRENCY} in flight", bar, used))
    finish("kills", table, document=given.document)


if __name__ == "__main__":
    main()
