"""SIGKILLs at random moments over jobs that buy by batches: `BATCH_KILLS` of them, a hundred by default."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest

from pipeline.simulator import read_ledger

KILLS = int(os.environ.get("BATCH_KILLS", "100"))
ROWS, LINES_A_BATCH = 40, 5
LONGEST_SECONDS = 1.8
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
  batch: {{requests: {lines}, poll_seconds: 0.1}}
parameters: {{max_tokens: 64}}
output: {{path: "{name}.parquet"}}
"""


@pytest.mark.timeout(7200)
def test_kills_create_no_batch_twice_and_lose_no_answer(
    start: Callable[..., subprocess.Popen[str]],
    simulate: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance = random.Random(1000)
    rows = ({"id": n, "prompt": f"What is {n} times {n + 7}?"} for n in range(ROWS))
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ledger = tmp_path / "ledger.jsonl"
    address = simulate(ledger, batch_seconds=0.4, seed=5).removesuffix("/api/v1")
    kills, jobs, cost = 0, 0, Decimal(0)
    while kills < KILLS:
        name = f"job-{jobs}"
        (tmp_path / f"{name}.yaml").write_text(JOB.format(name=name, address=address, lines=LINES_A_BATCH))
        longest = LONGEST_SECONDS
        while True:
            run = start("run", f"{name}.yaml", "--json", cwd=tmp_path)
            time.sleep(chance.uniform(0.0, longest))
            if run.poll() is not None:
                break
            run.kill()
            run.wait()
            kills += 1
            longest *= 1.1  # also on a slow machine a job comes to its end
        assert run.returncode == 0, run.communicate()
        assert run.stdout is not None
        summary = json.loads(run.stdout.read())
        jobs += 1
        assert (summary["succeeded"], summary["rows"], summary["possibly_billed_usd"]) == (ROWS, ROWS, "0")
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert table.column("id").to_pylist() == list(range(ROWS))
        cost += Decimal(summary["job_cost_usd"])
    asked = Counter(exchange.asked["prompt"] for exchange in read_ledger(ledger))
    billed = sum((Decimal(one.answered["cost_usd"]) for one in read_ledger(ledger) if one.answered), Decimal(0))
    assert set(asked.values()) == {1}
    assert len(asked) == jobs * ROWS
    assert billed == cost
    batches = _batches(address)
    assert batches == jobs * ROWS // LINES_A_BATCH
    with capsys.disabled():
        print(f"\n{kills} kills over {jobs} jobs: {batches} batches, none twice; {len(asked)} lines, none paid twice")


def _batches(address: str) -> int:
    count, after = 0, ""
    while True:
        with urlopen(f"{address}/v1/batches?limit=100{after}", timeout=10) as reply:
            page = json.load(reply)
        count += len(page["data"])
        if not page["has_more"]:
            return count
        after = f"&after={page['data'][-1]['id']}"
