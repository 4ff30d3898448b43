"""An hour under 1% faults: everything exact at the end, and memory as flat as promised.

`SOAK_SECONDS` makes it shorter or longer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.simulator import prompt_digest
from tests.support.oracle import Ledger, check_job

Start = Callable[..., subprocess.Popen[str]]
Simulate = Callable[..., str]

SECONDS = int(os.environ.get("SOAK_SECONDS", "3600"))
ROWS_A_SECOND, SLOTS = 100, 32
PLAN_BYTES_A_ROW = 16
MOST_GROWTH = 1.05
"""From the second quarter to the last, beyond the plan's bytes: what a sample of a quiet process varies by."""


def content(row: int) -> str:
    return f"Row {row}: why is the sky of the {row % 97}th planet {'blue' if row % 2 else 'red'}?"


def job(address: str) -> str:
    return f"""
name: soak
input: {{path: prompts.jsonl, id: id}}
prompt: {{column: prompt}}
endpoint: {{url: "{address}", model: meta/llama-4-scout-17b-16e-instruct}}
parameters: {{max_tokens: 64}}
limits: {{concurrency: {SLOTS}, requests_per_minute: {ROWS_A_SECOND * 60}}}
retry: {{initial_seconds: 0.1, max_seconds: 1}}
output: {{path: answers.parquet}}
"""


def proportional_bytes(process: int) -> int:
    """The memory that is the process's own, its share of shared pages included (PSS)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


@pytest.mark.timeout(3 * SECONDS + 600)
def test_memory_stays_flat_and_everything_exact(
    start: Start, simulate: Simulate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ROWS_A_SECOND * SECONDS
    with (tmp_path / "prompts.jsonl").open("w") as file:
        file.writelines(json.dumps({"id": row, "prompt": content(row)}) + "\n" for row in range(rows))
    ledger = tmp_path / "ledger.jsonl"
    address = simulate(ledger, latency_seconds=0.1, latency_spread=0.5, fault_rate=0.01, seed=5)
    (tmp_path / "job.yaml").write_text(job(address))
    process = start("run", "job.yaml", "--json", cwd=tmp_path)
    began, samples = time.monotonic(), []
    while process.poll() is None:
        try:
            samples.append((time.monotonic() - began, proportional_bytes(process.pid)))
        except (OSError, StopIteration):  # it ended at this moment
            break
        time.sleep(min(5.0, SECONDS / 100))
    stdout, stderr = process.communicate()
    assert process.returncode in (0, 3), stderr
    summary = json.loads(stdout)
    prompts = [prompt_digest([{"role": "user", "content": content(row)}]) for row in range(rows)]
    check_job(Ledger(ledger), prompts, summary, tmp_path / "answers.parquet", slots=SLOTS)

    sending = [held for at, held in samples if at < summary["seconds"]]
    quarter = len(sending) // 4
    second, last = statistics.median(sending[quarter : 2 * quarter]), statistics.median(sending[-quarter:])
    with capsys.disabled():
        print(
            f"\n{rows} rows in {summary['seconds']:.0f} s, {summary['retries']} retries, {summary['failed']} failed:"
            f" {second / 2**20:.1f} MiB in the second quarter, {last / 2**20:.1f} in the last,"
            f" {max(sending) / 2**20:.1f} at most"
        )
    assert last <= MOST_GROWTH * second + PLAN_BYTES_A_ROW * rows
