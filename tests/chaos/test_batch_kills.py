"""SIGKILLs at random moments over jobs that buy by batches: `BATCH_KILLS` of them, a hundred by default.

Several jobs run at once, each with moments drawn from its own seed, and the batches of the provider meet random faults.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests

from pipeline.journal import Journal
from pipeline.simulator import Settings, Simulator, read_ledger
from pipeline.simulator.batches import FAULTS
from tests.conftest import KEY
from tests.support.processes import Process, Warm

KILLS = int(os.environ.get("BATCH_KILLS", "100"))
AT_ONCE = 4
ROWS, LINES_A_BATCH = 20, 5
BATCH_SECONDS = 0.2
FAULT_RATE = 0.1
LONGEST_SECONDS = 0.9
"""How long the first run of a job may go on before it is killed: about as long as a whole job takes."""
JOB = """
name: {name}
input: {{path: prompts.jsonl, id: id}}
prompt: {{user: "{name}: {{{{ prompt }}}}"}}
endpoint:
  kind: openai
  url: "{address}/v1"
  model: meta/llama-4-scout-17b-16e-instruct
  api_key_env: DATAOORTS_API_KEY
  batch: {{requests: {lines}, poll_seconds: 0.05}}
parameters: {{max_tokens: 64}}
limits: {{timeout_seconds: 1}}
retry: {{max_attempts: 100}}
output: {{path: "{name}.parquet"}}
"""


@dataclass(frozen=True)
class Ended:
    """A job that came to its end: its summary, and what was on disk at each kill."""

    summary: Mapping[str, Any]
    kills: tuple[str, ...]


def test_kills_create_no_batch_twice_and_lose_no_answer(
    warm: Warm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ({"id": n, "prompt": f"What is {n} times {n + 7}?"} for n in range(ROWS))
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chance = random.Random(1000)
    faults = tuple(chance.choice(FAULTS) if chance.random() < FAULT_RATE else "none" for _ in range(100 * KILLS))
    ledger = tmp_path / "ledger.jsonl"
    settings = Settings(ledger=str(ledger), batch_seconds=BATCH_SECONDS, batch_faults=faults, seed=5)
    with Simulator(settings) as simulator, ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            job for some in pool.map(lambda of: _jobs(of, warm, tmp_path, simulator), range(AT_ONCE)) for job in some
        ]
        batches = list(_batches(simulator.address))
    for job in jobs:
        summary = job.summary
        assert (summary["succeeded"], summary["rows"], summary["possibly_billed_usd"]) == (ROWS, ROWS, "0")
        assert pq.read_table(tmp_path / summary["output"]).column("id").to_pylist() == list(range(ROWS))
    answered = [(one.asked["prompt"], Decimal(one.answered["cost_usd"])) for one in read_ledger(ledger) if one.answered]
    lines = Counter(prompt for prompt, _ in answered)
    assert (len(lines), set(lines.values())) == (len(jobs) * ROWS, {1})
    assert sum(cost for _, cost in answered) == sum(Decimal(job.summary["job_cost_usd"]) for job in jobs)
    keys = Counter(batch["metadata"]["llm-batch-pipeline"] for batch in batches)
    assert set(keys.values()) == {1}
    kills = Counter(kill for job in jobs for kill in job.kills)
    with capsys.disabled():
        print(
            f"\n{kills.total():,} kills ({', '.join(f'{n} {what}' for what, n in kills.most_common())}) over"
            f" {len(jobs)} jobs: {len(batches):,} batches, none created twice; {len(lines):,} lines, none paid twice or"
            " lost; cost = ledger"
        )


def _jobs(number: int, warm: Warm, directory: Path, simulator: Simulator) -> list[Ended]:
    """Run one job after another until this one of the threads has killed often enough."""
    jobs: list[Ended] = []
    for job in count():
        if sum(len(one.kills) for one in jobs) >= KILLS / AT_ONCE:
            break
        jobs.append(_job(f"job-{number}-{job}", warm, directory, simulator))
    return jobs


def _job(name: str, warm: Warm, directory: Path, simulator: Simulator) -> Ended:
    """Run a job to its end, through kills."""
    chance, longest = random.Random(name), LONGEST_SECONDS
    job = JOB.format(name=name, address=simulator.address, lines=LINES_A_BATCH)
    (directory / f"{name}.yaml").write_text(job)
    kills: list[str] = []
    while True:
        environment = {**os.environ, "DATAOORTS_API_KEY": KEY}
        with warm.start("run", f"{name}.yaml", "--json", directory=directory, environment=environment) as run:
            if not _is_killed(run, chance.uniform(0.0, longest)):
                out, err = run.communicate()
                if run.returncode == 0:
                    return Ended(json.loads(out), tuple(kills))
                summary = json.loads(out)
                assert summary["error"]["kind"] == "batch_failed", err
                continue
        kills.append(_found(directory / ".checkpoints" / name))
        longest *= 1.1  # also on a slow machine a job comes to its end


def _is_killed(run: Process, seconds: float) -> bool:
    """Kill a run after so many seconds, unless it is over by then."""
    time.sleep(seconds)
    run.kill()
    return run.wait() < 0


def _found(checkpoint: Path) -> str:
    """Return in words what a kill has left."""
    if not Journal.exists(checkpoint):
        return "before anything"
    journal = Journal.read(checkpoint)
    try:
        open_batches = journal.totals.batches
    finally:
        journal.close()
    if any(batch.file_id is None for batch in open_batches):
        return "before an upload was noted"
    if any(batch.batch_id is None for batch in open_batches):
        return "before a creation was noted"
    return "while batches were out" if open_batches else "with none out"


def _batches(address: str) -> Iterator[dict[str, Any]]:
    after: dict[str, str] = {}
    while True:
        page = requests.get(f"{address}/v1/batches", params={"limit": "100", **after}, timeout=10).json()
        yield from page["data"]
        if not page["has_more"]:
            return
        after = {"after": page["data"][-1]["id"]}
