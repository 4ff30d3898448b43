"""The worked chain over the problems of GSM8K, with kills in every stage; the endpoint's ledger is the witness."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.journal import Journal
from tests.support.oracle import SOCKET_SECONDS, Ledger, billed, is_known

Start = Callable[..., subprocess.Popen[str]]
Simulate = Callable[..., str]
Tokens = tuple[int, int]

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SOLVE, JUDGE = "dataset-solve", "dataset-judge"
PROBLEMS, SAMPLES, KILLS, SLOTS = 1_319, 4, 5, 32
GOOD = "judge_status == 'succeeded' and judge_parsed | int >= 4"
SETTLED_SECONDS = 1.5
"""Longer than nearly every latency: by then the endpoint has billed what a kill left in flight."""


@dataclass(frozen=True)
class Stage:
    """A stage at its end: the last run's summary and the rows; the requests in flight at its kills; what the endpoint
    billed in it, by the tokens of each answer whose usage it showed, and the same as the journal has it.
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    open_claims: int
    billed: Decimal
    shown: Counter[Tokens]
    recorded: Counter[Tokens]


@dataclass
class Chain:
    """The two jobs in a directory of their own, and the ledger of the endpoint that they ask."""

    directory: Path
    start: Start
    ledger: Path
    seen: int = 0

    def write(self, problems: Path, address: str) -> None:
        """Write the jobs as they are in the repository, but for the endpoint, and a seed for samples that differ."""
        (self.directory / "configs").mkdir()
        for name in (SOLVE, JUDGE):
            text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
            text = re.sub(r"^simulator:\n(  .*\n)+", "", text, flags=re.MULTILINE)
            text = text.replace("url: simulator", f'url: "{address}"').replace("temperature: 0.8", "seed: 1")
            text = text.replace("${GSM8K:-data/word_problems.jsonl}", str(problems))
            text = text.replace("limits:\n", f"limits:\n  concurrency: {SLOTS}\n")
            text += "retry: {initial_seconds: 0.05, max_seconds: 0.5}\n"
            (self.directory / "configs" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def run(self, name: str, requests: int) -> Stage:
        """Run a stage through its kills, spread over so many requests, and to its end."""
        open_claims = 0
        for _ in range(KILLS):
            process = self._begin("run", f"configs/{name}.yaml", "--json")
            enough = self._answered() + requests // (KILLS + 1)
            while process.poll() is None and self._answered() < enough:
                time.sleep(0.02)
            assert process.poll() is None, f"{name} was over before its kill"
            process.kill()
            process.wait()
            time.sleep(SOCKET_SECONDS)
            with self._journal(name) as journal:
                open_claims += journal.totals.claims
        summary = self.finish("run", f"configs/{name}.yaml", codes=(0, 3))
        time.sleep(SETTLED_SECONDS)
        exchanges = Ledger(self.ledger).exchanges
        own, self.seen = exchanges[self.seen :], len(exchanges)
        shown = [one.answered["usage"] for one in own if one.answered is not None and is_known(one)]
        with self._journal(name) as journal:
            records = [record for _, record in journal.records(range(1, journal.totals.events + 1))]
        return Stage(
            summary,
            pq.read_table(self.directory / "data" / "out" / f"{name}.parquet").to_pylist(),
            open_claims,
            sum(map(billed, own), Decimal(0)),
            Counter((usage["prompt_tokens"], usage["completion_tokens"]) for usage in shown),
            Counter(
                (one.prompt_tokens or 0, one.completion_tokens or 0) for one in records if one.billed_usd is not None
            ),
        )

    def finish(self, *words: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """Run a command to its end, and return its object."""
        process = self._begin(*words, "--json")
        out, err = process.communicate(timeout=300)
        assert process.returncode in codes, err
        found: dict[str, Any] = json.loads(out)
        return found

    def export(self, to: str, path: str, *flags: str) -> dict[str, Any]:
        """Export the answers with the marks beside them."""
        jobs = (f"configs/{SOLVE}.yaml", "--with", f"configs/{JUDGE}.yaml")
        return self.finish("export", *jobs, "--to", to, *flags, path)

    def _begin(self, *words: str) -> subprocess.Popen[str]:
        return self.start(*words, cwd=self.directory)

    def _answered(self) -> int:
        return self.ledger.read_bytes().count(b'"answered"')

    @contextmanager
    def _journal(self, name: str) -> Iterator[Journal]:
        """Give a copy of a stage's journal for reading."""
        copy = self.directory / "as-it-was"
        shutil.copytree(self.directory / ".checkpoints" / name, copy)
        journal = Journal.read(copy)
        yield journal
        journal.close()
        shutil.rmtree(copy)


def check_books(stage: Stage) -> Decimal:
    """Hold what a stage recorded to the ledger. Returns what answers that kills lost had cost."""
    lost = stage.shown - stage.recorded
    assert not stage.recorded - stage.shown, "the journal has answers that the endpoint never gave"
    assert lost.total() <= stage.open_claims <= KILLS * SLOTS, "more was lost than was in flight"
    cost, possibly = (Decimal(stage.summary[name]) for name in ("job_cost_usd", "possibly_billed_usd"))
    assert sum((row[name] or 0 for row in stage.rows for name in row if name.endswith("cost_usd")), Decimal(0)) == cost
    assert cost <= stage.billed <= cost + possibly
    return stage.billed - cost


def test_counts_and_costs_are_the_ledgers_through_all_stages(
    data: Path, start: Start, simulate: Simulate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = Chain(tmp_path, start, tmp_path / "ledger.jsonl")
    address = simulate(chain.ledger, latency_seconds=0.1, latency_spread=0.5, broken_json_rate=0.2)
    chain.write(data / "gsm8k_test.parquet", address)
    rows = PROBLEMS * SAMPLES
    ahead = chain.finish("plan", f"configs/{JUDGE}.yaml")
    assert ahead["requests"] == {"low": rows, "expected": 2 * rows, "high": 2 * rows}

    solved = chain.run(SOLVE, rows)
    valid = [row for row in solved.rows if row["status"] == "succeeded"]
    assert len(solved.rows) == rows
    assert len(valid) >= 0.99 * rows, "a fifth of the answers is broken, and each row has three"
    assert all(row["parsed"]["steps"] and row["parsed"]["answer"] is not None for row in valid)
    assert [row["sample_index"] for row in solved.rows] == [*range(SAMPLES)] * PROBLEMS
    known = chain.finish("plan", f"configs/{JUDGE}.yaml")
    assert known["requests"]["expected"] == len(valid)

    judged = chain.run(JUDGE, len(valid))
    ids = [f"{row['row_id']}/{row['sample_index']}" for row in valid]
    assert [row["judge_row_id"] for row in judged.rows] == ids, "a failed row was judged, or one is missing"
    marks = {row["judge_row_id"]: row["judge_parsed"] for row in judged.rows}
    lost = [check_books(stage) for stage in (solved, judged)]
    in_all = sum((Decimal(stage.summary["job_cost_usd"]) for stage in (solved, judged)), Decimal(0))
    assert in_all + sum(lost) == Ledger(chain.ledger).billed
    assert chain.finish("plan", f"configs/{JUDGE}.yaml")["spent_usd"] == f"{in_all.normalize():f}"

    good = [one for one in ids if marks[one] in ("4", "5")]
    assert chain.export("messages", "messages.jsonl", "--where", GOOD)["rows"] == len(good)
    assert chain.export("hf", "hub", "--where", GOOD, "--split", "train=0.9,test=0.1")["rows"] == len(good)
    pairs = chain.export("preference", "pairs.jsonl", "--score", "judge_parsed")
    apart = {(one.rpartition("/")[0], marks[one]) for one in ids if marks[one]}
    assert pairs["rows"] == sum(count > 1 for count in Counter(problem for problem, _ in apart).values())
    with capsys.disabled():
        for stage, cost in zip((solved, judged), lost, strict=True):
            summary = stage.summary
            print(
                f"\n{summary['job']}: {summary['succeeded']} of {summary['rows']} rows, {KILLS} kills with"
                f" {stage.open_claims} requests in flight, ${summary['job_cost_usd']} and ${cost} of lost answers;"
                f" cost difference {stage.billed - cost - Decimal(summary['job_cost_usd'])}"
            )
