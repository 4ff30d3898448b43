"""Two hundred SIGKILLs at random moments over one job; prints how many requests each one cost again."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.records import Request, request_hash
from pipeline.simulator import prompt_digest
from tests.support.oracle import Kill, Ledger, billed, check_job, is_known, look_after_kill

Start = Callable[..., subprocess.Popen[str]]
Simulate = Callable[..., str]

ROWS, KILLS, SLOTS = 5_000, 200, 16
MODEL = "meta/llama-4-scout-17b-16e-instruct"
MAX_TOKENS = 64
FIRST_RUN_SECONDS = 1.7
"""How long the first run may go on; later ones grow and shrink with how soon a run of this machine sends."""
SETTLED_SECONDS = 1.5
"""Longer than nearly every latency: by then the endpoint has billed what a kill left in flight."""


def job(address: str) -> str:
    return f"""
name: kills
input: {{path: prompts.jsonl, id: id}}
prompt: {{column: prompt}}
endpoint: {{url: "{address}", model: {MODEL}}}
parameters: {{max_tokens: {MAX_TOKENS}}}
limits: {{concurrency: {SLOTS}}}
retry: {{initial_seconds: 0.05, max_seconds: 0.5}}
output: {{path: answers.parquet}}
"""


@pytest.mark.timeout(3600)
def test_two_hundred_kills_lose_and_double_nothing(
    start: Start, simulate: Simulate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(200)
    messages = [[{"role": "user", "content": f"What is {n} times {n + 7}?"}] for n in range(ROWS)]
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"id": n, "prompt": one[0]["content"]}) + "\n" for n, one in enumerate(messages))
    )
    prompts = [prompt_digest(one) for one in messages]
    hashes = [request_hash("dataoorts", Request(MODEL, tuple(one), {"max_tokens": MAX_TOKENS})) for one in messages]  # type: ignore[arg-type]
    prompt_of = dict(zip(hashes, prompts, strict=True))
    ledger = tmp_path / "ledger.jsonl"
    (tmp_path / "job.yaml").write_text(
        job(simulate(ledger, latency_seconds=0.25, latency_spread=0.5, fault_rate=0.05, seed=11))
    )
    kills: list[Kill] = []
    longest = FIRST_RUN_SECONDS
    while len(kills) < KILLS:
        process = start("run", "job.yaml", cwd=tmp_path)
        time.sleep(chance.uniform(0.0, longest))
        assert process.poll() is None, f"the job was over after {len(kills)} kills"
        process.kill()
        process.wait()
        kills.append(look_after_kill(tmp_path / ".checkpoints" / "kills", ledger, prompt_of))
        longest = max(FIRST_RUN_SECONDS, longest + (-0.05 if kills[-1].open_claims else 0.05))
    process = start("run", "job.yaml", "--json", cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    time.sleep(SETTLED_SECONDS)
    summary, books = json.loads(stdout), Ledger(ledger)
    check_job(books, prompts, summary, tmp_path / "answers.parquet", kills, SLOTS)
    assert summary["succeeded"] == ROWS

    resent = [len(kill.lost) for kill in kills]
    while_sending = [len(kill.lost) for kill in kills if kill.open_claims]
    assert len(while_sending) >= KILLS / 4, "hardly any kill met a request in flight"
    lost = {(one.asked["server"], one.asked["n"]) for kill in kills for one in kill.lost}
    known = [one for one in books.exchanges if is_known(one) and (one.asked["server"], one.asked["n"]) not in lost]
    difference = Decimal(summary["job_cost_usd"]) - sum(map(billed, known))
    with capsys.disabled():
        print(
            f"\n{KILLS} kills, {len(while_sending)} of them amid requests, over {ROWS} rows: re-sent per kill: median"
            f" {statistics.median(resent):g} (amid requests {statistics.median(while_sending):g}), max {max(resent)} of"
            f" {SLOTS} slots; lost 0, doubled 0, cost difference {difference} USD; {len(books.exchanges)} requests,"
            f" {summary['job_cost_usd']} USD, possibly {summary['possibly_billed_usd']} more"
        )
