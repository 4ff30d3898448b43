"""Twenty pilots of 50 rows on real prompts, each followed by the rest of the job: what they said, and what it cost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.simulator import read_ledger

Start = Callable[..., subprocess.Popen[str]]

SEEDS = range(20)
FEWEST_HELD = 18
WIDEST = Decimal("1.3")


def test_the_actual_cost_is_inside_the_range_of_a_pilot_of_fifty_rows(
    data: Path, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held, widths = 0, []
    for seed in SEEDS:
        file = tmp_path / f"job{seed}.yaml"
        file.write_text(_job(data, seed), encoding="utf-8")
        pilot = _command(start, tmp_path, "estimate", file, "--pilot", "50", "--seed", str(seed))
        assert (pilot["rows"]["done"], pilot["requests"]) == (50, 1269)
        ran = _command(start, tmp_path, "run", file)
        billed = [Decimal(one.answered["cost_usd"]) for one in read_ledger(tmp_path / f"{seed}.jsonl") if one.answered]
        assert len(billed) == 1319
        assert Decimal(ran["job_cost_usd"]) == sum(billed)
        low, high = (Decimal(pilot["cost_usd"][bound]) for bound in ("low", "high"))
        is_held = low <= Decimal(ran["cost_usd"]) <= high
        whole = pilot["whole_job_usd"]
        assert is_held == (Decimal(whole["low"]) <= Decimal(ran["job_cost_usd"]) <= Decimal(whole["high"]))
        held += is_held
        widths.append(high / low)
    with capsys.disabled():
        print(
            f"\nthe actual cost is inside the range of {held} of {len(SEEDS)} pilots of 50 rows;"
            f" high/low {min(widths):.3f} to {max(widths):.3f}"
        )
    assert held >= FEWEST_HELD
    assert max(widths) <= WIDEST


def _job(data: Path, seed: int) -> str:
    return f"""
name: pilot-{seed}
input: {{path: {json.dumps(str(data / "gsm8k_test.parquet"))}, id: problem_id}}
prompt: {{system: "You are a careful tutor. Answer briefly.", user: "{{{{ question }}}}"}}
endpoint: {{url: simulator, model: meta/llama-4-scout-17b-16e-instruct}}
parameters: {{temperature: 0.1, max_tokens: 256}}
limits: {{max_cost_usd: 50}}
output: {{path: answers{seed}.parquet}}
simulator: {{seed: {seed}, ledger: {seed}.jsonl}}
"""


def _command(start: Start, directory: Path, *words: str | Path) -> dict[str, Any]:
    process = start(*words, "--json", cwd=directory)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    found: dict[str, Any] = json.loads(stdout)
    return found
