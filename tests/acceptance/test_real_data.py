"""Two real sets of prompts, each run whole and run through fourteen kills; the endpoint's ledger is the witness."""

from __future__ import annotations

import csv
import json
import random
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.journal import ANSWERS, Journal
from pipeline.simulator import Exchange, prompt_digest, read_ledger

Start = Callable[..., subprocess.Popen[str]]
Simulate = Callable[..., str]

SYSTEM = "You are a careful tutor. Answer briefly."
CONCURRENCY = 32
SIMULATOR = {"fault_rate": 0.05, "latency_spread": 0.5, "seed": 7}
SETTLED_SECONDS = 1.5
"""Longer than nearly every latency: by then the endpoint has billed what a kill left in flight."""


@dataclass(frozen=True)
class Set:
    """A file of prompts: its rows as they have to come back, and how a job reads it."""

    name: str
    file: str
    column: str
    id: str | None
    latency_seconds: float

    def rows(self, data: Path) -> list[dict[str, Any]]:
        if self.file.endswith(".parquet"):
            found: list[dict[str, Any]] = pq.read_table(data / self.file).to_pylist()
            return found
        with (data / self.file).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def prompts(self, data: Path) -> list[str]:
        """The digest of each row's messages, as the ledger names it."""
        system = {"role": "system", "content": SYSTEM}
        return [prompt_digest([system, {"role": "user", "content": row[self.column]}]) for row in self.rows(data)]

    def job(self, data: Path, address: str) -> str:
        identity = f", id: {self.id}" if self.id else ""
        return f"""
name: {self.name}
input: {{path: {json.dumps(str(data / self.file))}{identity}}}
prompt: {{system: "{SYSTEM}", user: "{{{{ {self.column} }}}}"}}
endpoint: {{url: "{address}", model: meta/llama-4-scout-17b-16e-instruct}}
parameters: {{temperature: 0.1, max_tokens: 256}}
limits: {{concurrency: {CONCURRENCY}, max_cost_usd: 50}}
retry: {{initial_seconds: 0.1, max_seconds: 1}}
output: {{path: answers.parquet}}
"""


SETS = (
    Set("gsm8k", "gsm8k_test.parquet", "question", "problem_id", 0.1),
    Set("truthfulqa", "truthfulqa.csv", "Question", None, 0.15),
)


@dataclass
class Ended:
    """A job that came to its end: its directory, the last run's summary, the rows of the output."""

    directory: Path
    summary: dict[str, Any]
    output: list[dict[str, Any]]

    @property
    def exchanges(self) -> list[Exchange]:
        return read_ledger(self.directory / "ledger.jsonl")


@dataclass
class Kill:
    """What a kill left behind: when it was over, what the journal held then, and what was asked but not recorded."""

    at: float
    stage: str
    was_in_time: bool
    answered: set[str] = field(default_factory=set)
    claimed: int = 0
    lost: list[Exchange] = field(default_factory=list)


@pytest.fixture(scope="module", params=SETS, ids=lambda found: str(found.name))
def prompts(request: pytest.FixtureRequest) -> Set:
    found: Set = request.param
    return found


@pytest.fixture(scope="module")
def undisturbed(
    prompts: Set, data: Path, start: Start, simulate: Simulate, tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    """The set run whole, in one go."""
    directory = tmp_path_factory.mktemp(prompts.name)
    _prepare(prompts, data, directory, simulate)
    return _finish(directory, start)


def test_each_row_has_the_answer_that_the_ledger_holds_for_it(prompts: Set, data: Path, undisturbed: Ended) -> None:
    rows, output = prompts.rows(data), undisturbed.output
    assert [{name: line[name] for name in rows[0]} for line in output] == rows
    by_prompt = _by_prompt(undisturbed.exchanges)
    for line, prompt in zip(output, prompts.prompts(data), strict=True):
        (answer,) = (exchange for exchange in by_prompt[prompt] if _is_usable(exchange))
        assert answer.answered is not None
        usage = answer.answered["usage"] or {}
        assert (line["status"], line["response"]) == ("succeeded", answer.answered["response"])
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            assert line[name] == usage.get(name)
        known = sum((_billed(exchange) for exchange in by_prompt[prompt] if _is_known(exchange)), Decimal(0))
        assert line["cost_usd"] == (known if usage else None)
        assert line["attempts"] == len(by_prompt[prompt])
    assert by_prompt.keys() == set(prompts.prompts(data))


def test_the_sums_are_the_ledgers_to_the_last_digit(undisturbed: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    summary, exchanges = undisturbed.summary, undisturbed.exchanges
    known = [exchange for exchange in exchanges if _is_known(exchange)]
    difference = Decimal(summary["job_cost_usd"]) - sum(map(_billed, known))
    assert difference == 0
    assert summary["cost_usd"] == summary["job_cost_usd"]
    assert Decimal(summary["job_cost_usd"]) + Decimal(summary["possibly_billed_usd"]) >= sum(map(_billed, exchanges))
    for name in ("prompt_tokens", "completion_tokens"):
        assert summary[name] == sum(exchange.answered["usage"][name] for exchange in known if exchange.answered)
    assert summary["requests"] == len(exchanges)
    assert summary["retries"] == len(exchanges) - len(undisturbed.output)
    assert summary["unpriced_rows"] == sum(line["cost_usd"] is None for line in undisturbed.output)
    with capsys.disabled():
        print(
            f"\n{summary['job']}: {summary['rows']} rows, {summary['requests']} requests, {summary['seconds']:.1f} s,"
            f" {summary['job_cost_usd']} USD, possibly {summary['possibly_billed_usd']} more;"
            f" cost difference {difference}"
        )


def test_the_key_stands_nowhere(undisturbed: Ended) -> None:
    for path in undisturbed.directory.rglob("*"):
        assert not path.is_file() or b"acceptance-key" not in path.read_bytes(), path


def test_fourteen_kills_lose_and_double_nothing(
    prompts: Set,
    data: Path,
    undisturbed: Ended,
    start: Start,
    simulate: Simulate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _prepare(prompts, data, tmp_path, simulate)
    by_hash = {
        line["request_hash"]: prompt for line, prompt in zip(undisturbed.output, prompts.prompts(data), strict=True)
    }
    kills = [
        _kill(stage, moment, start, tmp_path, by_hash)
        for stage, moment in _moments(undisturbed.summary["seconds"], random.Random(prompts.name))
    ]
    ended = _finish(tmp_path, start)

    compared = ("row_id", "status", "response", "request_hash")  # a fault may hide the usage of either
    assert _columns(ended.output, compared) == _columns(undisturbed.output, compared)
    assert (tmp_path / "answers.parquet").exists() and not (tmp_path / "answers.partial.parquet").exists()
    by_prompt = _by_prompt(ended.exchanges)
    for kill in kills:
        assert kill.claimed <= CONCURRENCY and len(kill.lost) <= kill.claimed, kill.stage
        asked_again = [p for p in kill.answered if any(one.asked["at"] > kill.at for one in by_prompt[p])]
        assert not asked_again, f"acknowledged before the kill in {kill.stage}, and asked again"
    lost = {_name(exchange) for kill in kills for exchange in kill.lost}
    kept = [exchange for exchange in ended.exchanges if _name(exchange) not in lost]
    answers = _by_prompt([exchange for exchange in kept if _is_usable(exchange)])
    missing = sum(prompt not in answers for prompt in by_hash.values())
    doubled = sum(len(found) - 1 for found in answers.values())
    assert (missing, doubled) == (0, 0)
    difference = Decimal(ended.summary["job_cost_usd"]) - sum(_billed(one) for one in kept if _is_known(one))
    assert difference == 0
    in_all = Decimal(ended.summary["job_cost_usd"]) + Decimal(ended.summary["possibly_billed_usd"])
    assert in_all >= sum(map(_billed, ended.exchanges))
    assert {kill.stage for kill in kills if kill.was_in_time} == {"starting", "planning", "sending", "publishing"}
    assert sum(kill.was_in_time for kill in kills) >= 9, "runs were over before their kill came"
    assert sum(kill.claimed > 0 for kill in kills) >= 4, "hardly any kill met a request in flight"
    resent = [len(kill.lost) for kill in kills]
    while_sending = [len(kill.lost) for kill in kills if kill.stage == "sending"]
    with capsys.disabled():
        print(
            f"\n{prompts.name}, {len(kills)} kills: re-sent per kill: median {statistics.median(resent):g}, max"
            f" {max(resent)} (while sending: median {statistics.median(while_sending):g}) of {CONCURRENCY} slots;"
            f" lost {missing}, doubled {doubled}, cost difference {difference};"
            f" {ended.summary['job_cost_usd']} USD, perhaps {ended.summary['possibly_billed_usd']} more"
        )


def _moments(seconds: float, chance: random.Random) -> list[tuple[str, float]]:
    """Fourteen stages with the seconds after which the kill comes: from the start, or from the stage's first sign."""
    at = [0.0, *sorted(chance.uniform(0, 0.7 * seconds) for _ in range(10))]
    sending = [("sending", later - earlier) for earlier, later in pairwise(at)]
    return [
        ("starting", chance.uniform(0, 0.5)),
        ("planning", 0.0),
        *sending,
        ("publishing", 0.0),
        ("publishing", chance.uniform(0, 0.05)),
    ]


def _kill(stage: str, moment: float, start: Start, directory: Path, by_hash: dict[str, str]) -> Kill:
    """Start a run and kill it in that stage, unless it is over by then."""
    checkpoint = directory / ".checkpoints"
    signs: dict[str, Callable[[], bool]] = {
        "planning": lambda: any(checkpoint.glob("*/planning.sqlite*")) or any(checkpoint.glob("*/journal.sqlite*")),
        "sending": lambda: any(checkpoint.glob("*/progress.json")) and _mtime(checkpoint) > began,
        "publishing": lambda: any(directory.glob(".answers.parquet.*.writing")),
    }
    began = time.time()
    process = start("run", "job.yaml", cwd=directory)
    while stage in signs and process.poll() is None and not signs[stage]():
        time.sleep(0.001)
    end = time.monotonic() + moment
    while process.poll() is None and time.monotonic() < end:
        time.sleep(min(0.01, moment))
    was_running = process.poll() is None
    process.kill()
    process.wait()
    kill = Kill(time.time(), stage, was_running)
    time.sleep(0.2)  # what is in the socket's buffer reaches the ledger
    copy = directory / "as-it-was"
    for found in checkpoint.glob("*/journal.sqlite"):
        shutil.copytree(found.parent, copy)
        journal = Journal.read(copy)
        kill.answered = {by_hash[entry.request_hash] for entry in journal.index() if entry.state in ANSWERS}
        claims = [(by_hash[claim.request_hash], claim.claimed_at) for claim in journal.claims()]
        journal.close()
        shutil.rmtree(copy)
        by_prompt = _by_prompt(read_ledger(directory / "ledger.jsonl"))
        kill.claimed = len(claims)
        kill.lost = [one for prompt, at in claims for one in by_prompt[prompt] if one.asked["at"] >= at]
    return kill


def _mtime(checkpoint: Path) -> float:
    return max((path.stat().st_mtime for path in checkpoint.glob("*/progress.json")), default=0.0)


def _prepare(prompts: Set, data: Path, directory: Path, simulate: Simulate) -> None:
    address = simulate(directory / "ledger.jsonl", latency_seconds=prompts.latency_seconds, **SIMULATOR)
    (directory / "job.yaml").write_text(prompts.job(data, address), encoding="utf-8")


def _finish(directory: Path, start: Start) -> Ended:
    process = start("run", "job.yaml", "--json", cwd=directory)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    time.sleep(SETTLED_SECONDS)
    return Ended(directory, json.loads(stdout), pq.read_table(directory / "answers.parquet").to_pylist())


def _by_prompt(exchanges: list[Exchange]) -> dict[str, list[Exchange]]:
    found: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        found[exchange.asked["prompt"]].append(exchange)
    return found


def _name(exchange: Exchange) -> tuple[str, int]:
    return exchange.asked["server"], exchange.asked["n"]


def _billed(exchange: Exchange) -> Decimal:
    return Decimal(0) if exchange.answered is None else Decimal(exchange.answered["cost_usd"])


def _is_known(exchange: Exchange) -> bool:
    """Whether the client can know what it was billed: the reply was delivered and says so."""
    answered = exchange.answered
    return answered is not None and answered["delivered"] and answered["usage"] is not None


def _is_usable(exchange: Exchange) -> bool:
    answered = exchange.answered
    return answered is not None and answered["delivered"] and answered["status"] == 200 and bool(answered["response"])


def _columns(lines: list[dict[str, Any]], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [tuple(line[name] for name in names) for line in lines]
