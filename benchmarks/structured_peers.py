"""Answers that are objects, from start to end and through one kill, beside other tools that make data sets:
python -m benchmarks.structured_peers [--rows N] [--only NAME]… [--document]
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.beside import arguments, finish, tools
from benchmarks.job import COMMAND, KEY, MODELS, PARAMETERS
from benchmarks.peers.__main__ import OURS, QUIET, token_encodings
from benchmarks.process import Measured, Tree, measure
from benchmarks.recovery import answer_to, serving
from benchmarks.table import Row, at_most

PEERS = {"curator_structured": "curator", "data_designer_column": "data_designer", "accrue_step": "accrue"}
"""The environment of each peer, by the name of its module."""
CONCURRENCY = 16
_LATENCY_SECONDS = 0.3
_LOOK_SECONDS = 0.05
_MOST_SECONDS = 240


@dataclass
class Selling:
    """A server that answers each request after a while, and counts the answers to each row."""

    bought: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_for(self, row: int) -> None:
        """Answer."""
        time.sleep(_LATENCY_SECONDS)
        with self.lock:
            self.bought[row] += 1


@dataclass(frozen=True, slots=True)
class Result:
    """What became of all rows: how long it took, how many are right, how many answers were bought more than once."""

    wall: float
    right: int
    twice: int
    exit_code: int


def run(name: str, python: Path | None, rows: int, *, is_killed: bool) -> Result:
    """Run a peer, or this program where there is no `python`, over all rows; killed at half of them and run again, or
    in one go.
    """
    directory = BUILD / "jobs" / f"structured-{name.replace(' ', '-')}"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "home").mkdir(parents=True)
    prompts, output = directory / "prompts.parquet", directory / "answers.parquet"
    pq.write_table(pa.table({"id": range(rows), "prompt": [f"Say hello to row {row}" for row in range(rows)]}), prompts)
    selling = Selling()

    def kill_at_half(tree: Tree) -> None:
        if selling.bought.total() >= rows / 2:
            tree.kill()

    with serving(selling) as base:
        words: list[str | Path] = [COMMAND, "run", _job_file(directory, prompts, output, base)]
        if python is not None:
            module = f"benchmarks.peers.{name}"
            words = [python, "-m", module, prompts, output, base, MODELS["openai"], str(CONCURRENCY), directory]
        environment = {**QUIET, **KEY, "HOME": str(directory / "home"), **token_encodings("curator")}
        if is_killed:
            _measure(words, directory, environment, kill_at_half)
        measured = _measure(words, directory, environment, None)
    right = 0
    if output.exists():
        counts = Counter(
            line["id"]
            for line in pq.read_table(output, columns=["id", "response"]).to_pylist()
            if json.loads(line["response"]) == json.loads(answer_to(line["id"]))
        )
        right = sum(count == 1 for count in counts.values())
    twice = sum(count - 1 for count in selling.bought.values())
    result = Result(measured.wall, right, twice, measured.exit_code)
    say(f"{name}{', killed once' if is_killed else ''}: {result}")
    return result


def _measure(words: list[str | Path], directory: Path, environment: dict[str, str], watch: object) -> Measured:
    return measure(
        words,
        directory / "log",
        environment=environment,
        look_seconds=_LOOK_SECONDS,
        most_seconds=_MOST_SECONDS,
        watch=watch,  # type: ignore[arg-type]
    )


def _job_file(directory: Path, prompts: Path, output: Path, base: str) -> Path:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    document = {
        "name": "structured",
        "input": {"path": str(prompts), "id": "id"},
        "prompt": {"column": "prompt"},
        "endpoint": {"kind": "openai", "url": base, "model": MODELS["openai"], "api_key_env": next(iter(KEY))},
        "parameters": PARAMETERS,
        "expect": {"json_schema": schema},
        "limits": {"concurrency": CONCURRENCY},
        "pricing": {"input_usd_per_million": 0.32, "output_usd_per_million": 0.34},
        "checkpoint": {"path": str(directory / "checkpoint")},
        "output": {"path": str(output)},
    }
    path = directory / "job.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return path


def main() -> None:
    """Run all; exits with 1 if ours has a wrong row, or bought more twice than was in flight."""
    given = arguments("structured_peers", __doc__, PEERS, rows=300)
    rows, table = given.rows, list[Row]()
    for name, python in tools(given.only or PEERS, PEERS, table):
        whole, killed = (run(name, python, rows, is_killed=is_killed) for is_killed in (False, True))
        figures = (
            f"{whole.wall:.1f} s, {whole.right} of {rows} right; after one kill {killed.right} right,"
            f" {killed.twice} answers bought twice, exit code {killed.exit_code}"
        )
        limit = bar = ""
        used = None
        if name == OURS:
            limit = f"{rows / CONCURRENCY * _LATENCY_SECONDS:.1f} s on {CONCURRENCY} slots"
            bar = f"all rows right, at most {CONCURRENCY} bought twice"
            used = max(at_most(killed.twice, CONCURRENCY), 2.0 * ({whole.right, killed.right} != {rows}))
        table.append(Row(name, figures, limit, bar, used))
    finish("structured", table, document=given.document)


if __name__ == "__main__":
    main()
