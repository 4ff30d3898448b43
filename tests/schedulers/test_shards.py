"""examples/slurm/shards.sbatch under a real Slurm: `make schedulers`.

One task is warned of its time limit, one is cancelled and one is killed. What `gather` names is then submitted again.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import KEY
from tests.schedulers.cluster import Cluster, cluster
from tests.support.oracle import Ledger, billed

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "slurm" / "shards.sbatch"
COMMAND = Path(sys.executable).with_name("pipeline")
ROWS, SHARDS, SLOTS, LATENCY = 4_800, 16, 4, 1.5
WARNED, CANCELLED, KILLED = 1, 2, 3
SECONDS = 900.0


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("DATAOORTS_API_KEY", KEY)  # sbatch hands the environment on
    (tmp_path / "slurm").mkdir()
    with cluster(tmp_path / "slurm") as found:
        yield found


@pytest.fixture
def desk(tmp_path: Path, simulate: Callable[..., str]) -> Path:
    """A directory as the example has it, with a job of `ROWS` rows."""
    desk = tmp_path / "desk"
    for name in ("configs", "data", "logs"):
        (desk / name).mkdir(parents=True)
    rows = {"id": list(range(ROWS)), "prompt": [f"What is {row} times {row + 7}?" for row in range(ROWS)]}
    pq.write_table(pa.table(rows), desk / "data" / "questions.parquet")
    url = simulate(tmp_path / "ledger.jsonl", latency_seconds=LATENCY, latency_spread=0.3, seed=5)
    (desk / "configs" / "answers.yaml").write_text(
        "name: answers\ninput: {path: data/questions.parquet, id: id}\nprompt: {column: prompt}\n"
        f'endpoint: {{url: "{url}", model: meta/llama-4-scout-17b-16e-instruct}}\nparameters: {{max_tokens: 64}}\n'
        f"limits: {{concurrency: {SLOTS}}}\noutput: {{path: data/out/answers.parquet}}\n",
        encoding="utf-8",
    )
    text = EXAMPLE.read_text(encoding="utf-8").replace("/srv/batch/.venv/bin/pipeline", str(COMMAND))
    (desk / "shards.sbatch").write_text(text, encoding="utf-8")
    return desk


def test_an_array_whose_tasks_are_warned_cancelled_and_killed_is_finished_and_gathered(
    slurm: Cluster, desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = slurm.call("sbatch", "--parsable", "shards.sbatch", cwd=desk)
    wait(lambda: all(answers(desk, task) > 20 for task in (WARNED, CANCELLED, KILLED)), 120)
    slurm.warn(f"{job}_{WARNED}")
    slurm.call("scancel", f"{job}_{CANCELLED}")
    os.kill(process_of(KILLED), signal.SIGKILL)
    wait(lambda: slurm.states(job).get(WARNED) == "PENDING", 60)
    wait(lambda: not slurm.states(job), SECONDS)

    first = gather(desk)
    assert first.returncode == 3
    named = re.findall(r"--array=[\d,]+", first.stdout)
    assert named == [f"--array={CANCELLED},{KILLED}"], first.stdout

    again = slurm.call("sbatch", "--parsable", *named, "shards.sbatch", cwd=desk)
    wait(lambda: not slurm.states(again), SECONDS)
    whole = gather(desk)
    assert (whole.returncode, whole.stderr) == (0, "")

    ledger = Ledger(tmp_path / "ledger.jsonl")
    summary = json.loads(whole.stdout)
    twice = [found for found in ledger.by_prompt.values() if len(found) > 1]
    with capsys.disabled():
        print(f"\n{ROWS} rows in {SHARDS} shards: {len(ledger.exchanges)} requests, {len(twice)} rows asked twice")
    assert pq.read_table(desk / "data" / "out" / "answers.parquet")["row_id"].to_pylist() == [
        str(n) for n in range(ROWS)
    ]
    assert len(ledger.by_prompt) == summary["succeeded"] == ROWS
    assert len(twice) <= SLOTS  # only what was in flight at the SIGKILL
    lost = sum((billed(found[0]) for found in twice), Decimal(0))
    assert Decimal(summary["job_cost_usd"]) == ledger.billed - lost


def answers(desk: Path, task: int) -> int:
    """How many rows of a shard have an answer."""
    done = call(desk, "status", "--shard", f"{task}/{SHARDS}")
    return (json.loads(done.stdout).get("succeeded") or 0) if done.returncode == 0 else 0


def gather(desk: Path) -> subprocess.CompletedProcess[str]:
    return call(desk, "gather", "--shards", str(SHARDS))


def call(desk: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [COMMAND, name, "configs/answers.yaml", *words, "--json"]
    return subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=120, check=False)


def process_of(task: int) -> int:
    """The run of a shard."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                words = Path("/proc", name, "cmdline").read_bytes().decode().split("\0")
                if "run" in words and f"{task}/{SHARDS}" in words and "configs/answers.yaml" in words:
                    return int(name)
    raise LookupError(f"no run of shard {task}")


def wait(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(1)
