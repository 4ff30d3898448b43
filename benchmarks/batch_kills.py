"""What a kill costs a job that buys by a provider's batches, beside other tools:
python -m benchmarks.batch_kills [--rows N] [--only NAME]… [--document]
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import requests

from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.beside import arguments, finish, tools
from benchmarks.job import COMMAND, KEY, MODELS, PARAMETERS
from benchmarks.peers.__main__ import OURS, QUIET, token_encodings
from benchmarks.peers.task import BATCH_MAX_TOKENS
from benchmarks.process import Tree, measure
from benchmarks.table import Row
from pipeline.simulator import Settings, Simulator, prompt_digest, read_ledger

PEERS = {"curator_batch": "curator", "inspect_batch": "inspect"}
"""The environment of each peer, by the name of its module."""
BATCHES = 6
_BATCH_SECONDS = 8.0
_OUT_SECONDS = 3.0
_LOOK_SECONDS = 0.02
_MOST_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Provider:
    """The simulator, as a witness of what was bought."""

    address: str
    ledger: Path

    def batches(self) -> list[dict[str, Any]]:
        """Return all batches; those whose time has come are worked on."""
        reply = requests.get(f"{self.address}/v1/batches", params={"limit": "100"}, timeout=10)
        found: list[dict[str, Any]] = reply.json()["data"]
        return found

    def waits(self, count: int) -> bool:
        """Return whether so many batches have been out for a while."""
        found = self.batches()
        return len(found) >= count and time.time() >= max(batch["created_at"] for batch in found) + _OUT_SECONDS

    def lines_paid(self) -> int:
        """How many lines have been answered so far."""
        return int(requests.get(f"{self.address}/health", timeout=10).json()["requests"])

    def bought(self) -> Counter[str]:
        """Work on every batch that was created; return how often each prompt was answered and paid, by its digest."""
        while any(batch["status"] == "in_progress" for batch in self.batches()):
            time.sleep(_LOOK_SECONDS)
        return Counter(one.asked["prompt"] for one in read_ledger(self.ledger) if one.answered)


@dataclass(frozen=True, slots=True)
class Result:
    """What the provider shows at the kill, and what it and the output show after the second run."""

    at_kill: str
    created: int
    paid: int
    twice: int
    lost: int
    doubled: int
    exit_code: int

    @property
    def text(self) -> str:
        """The figures of a table's line."""
        return (
            f"{self.at_kill}{self.created} batches created; {self.paid} lines paid, {self.twice} of them twice;"
            f" {self.lost} rows lost, {self.doubled} doubled; exit code {self.exit_code}"
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """When a tool is killed, what the provider does for it, and how that moment is known."""

    text: str
    faults: tuple[str, ...]
    has_come: Callable[[Provider, int], bool]


MOMENTS = (
    Moment("no kill", (), lambda provider, rows: False),
    Moment(
        "before the third creation is answered",
        ("none", "none", "create_late"),
        lambda provider, rows: len(provider.batches()) >= 3,
    ),
    Moment("while all batches are out", (), lambda provider, rows: provider.waits(BATCHES)),
    Moment("when half of the lines are paid", (), lambda provider, rows: provider.lines_paid() >= rows / 2),
)


def run(name: str, python: Path | None, rows: int, moment: Moment) -> Result:
    """Run a peer, or this program where there is no `python`; kill it at that moment, and run it to its end."""
    directory = BUILD / "jobs" / f"batch-kill-{name.replace(' ', '-')}"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "home").mkdir(parents=True)
    prompts, output, ledger = (directory / file for file in ("prompts.parquet", "answers.parquet", "ledger.jsonl"))
    texts = [f"Say hello to row {row}" for row in range(rows)]
    pq.write_table(pa.table({"id": range(rows), "prompt": texts}), prompts)
    settings = Settings(ledger=str(ledger), batch_seconds=_BATCH_SECONDS, batch_faults=moment.faults)
    at_kill = ""
    with Simulator(settings) as simulator:
        provider = Provider(simulator.address, ledger)

        def kill_at_the_moment(tree: Tree) -> None:
            nonlocal at_kill
            if not at_kill and moment.has_come(provider, rows):
                tree.kill()
                at_kill = f"killed at {len(provider.batches())} batches, {provider.lines_paid()} lines paid; "

        base, lines = f"{simulator.address}/v1", -(-rows // BATCHES)
        words: list[str | Path] = [COMMAND, "run", _job_file(directory, prompts, output, base, lines)]
        if python is not None:
            module = f"benchmarks.peers.{name}"
            words = [python, "-m", module, prompts, output, base, MODELS["dataoorts"], str(lines), directory]
        environment = {**QUIET, **KEY, "HOME": str(directory / "home"), **token_encodings("curator")}
        limits = {"environment": environment, "look_seconds": _LOOK_SECONDS, "most_seconds": _MOST_SECONDS}
        ended = measure(words, directory / "log", watch=kill_at_the_moment, **limits)  # type: ignore[arg-type]
        if at_kill:
            ended = measure(words, directory / "log", **limits)  # type: ignore[arg-type]
        bought, created = provider.bought(), len(provider.batches())
    answers = outcome(output, texts)
    twice = sum(count - 1 for count in bought.values())
    result = Result(at_kill, created, bought.total(), twice, *answers, ended.exit_code)
    say(f"{name}, {moment.text}: {result.text}")
    return result


def outcome(output: Path, prompts: list[str]) -> tuple[int, int]:
    """Return how many rows have no right answer, and how many more than one, in a Parquet file of ids and responses."""
    found: Counter[int] = Counter()
    if output.exists():
        for row, response in zip(*pq.read_table(output, columns=["id", "response"]).to_pydict().values(), strict=True):
            digest = prompt_digest([{"role": "user", "content": prompts[int(row)]}])
            found[int(row)] += digest in (response or "")
    return sum(not found[row] for row in range(len(prompts))), sum(count > 1 for count in found.values())


def _job_file(directory: Path, prompts: Path, output: Path, base: str, lines: int) -> Path:
    endpoint = {"kind": "openai", "url": base, "model": MODELS["dataoorts"], "api_key_env": next(iter(KEY))}
    document = {
        "name": "batch-kills",
        "input": {"path": str(prompts), "id": "id"},
        "prompt": {"column": "prompt"},
        "endpoint": {**endpoint, "batch": {"requests": lines, "poll_seconds": 1}},
        "parameters": {**PARAMETERS, "max_tokens": BATCH_MAX_TOKENS},
        "checkpoint": {"path": str(directory / "checkpoint")},
        "output": {"path": str(output)},
    }
    path = directory / "job.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return path


def main() -> None:
    """Run all; exits with 1 if ours lost, doubled or paid anything twice, or created a batch more than it needs."""
    given = arguments("batch_kills", __doc__, PEERS, rows=60)
    rows, table = given.rows, list[Row]()
    for name, python in tools(given.only or PEERS, PEERS, table):
        for moment in MOMENTS:
            result = run(name, python, rows, moment)
            bar, used = "", None
            if name == OURS:
                bar = f"{BATCHES} batches, {rows} lines, none twice, lost or doubled"
                used = 2.0 * (result != Result(result.at_kill, BATCHES, rows, 0, 0, 0, 0))
            table.append(Row(f"{name}: {moment.text}", result.text, "", bar, used))
    finish("batch-kills", table, document=given.document)


if __name__ == "__main__":
    main()
