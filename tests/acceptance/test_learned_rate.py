"""Endpoints of every kind that keep a rate without saying it: in virtual time, and one over real HTTP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.simulator import read_ledger
from tests.support.rates import LIMITS, EachSecond, FullBucket, Limit, Sliding, measure

Start = Callable[..., subprocess.Popen[str]]
Simulate = Callable[..., str]

SIZES = [(60, 8), (60, 64), (600, 8), (600, 64), (3000, 8), (3000, 64)]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("says_when", [True, False], ids=["with Retry-After", "without"])
def test_a_limit_of_any_kind_and_size_is_found(
    limit: type[Limit], says_when: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for per_minute, concurrency in SIZES:
        used, refused = measure(limit, says_when, per_minute, concurrency)
        figures = f"{used:.1%} used, {refused:.1%} refused after the first minute"
        lines.append(f"{limit.__name__:11} {per_minute:5} a minute, {concurrency:2} slots: {figures}")
        if limit is Sliding and says_when:
            assert used >= 0.95, lines[-1]
            assert refused <= 0.02, lines[-1]
        assert used >= (0.7 if limit is EachSecond else 0.95), lines[-1]
        # What a bucket held at the start looks like its rate until it is a minute old.
        assert refused <= (0.12 if limit is FullBucket else 0.05), lines[-1]
    with capsys.disabled():
        print("", *lines, sep="\n")


def test_the_simulators_unannounced_rate_is_used_with_few_refusals(
    start: Start, simulate: Simulate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, per_minute, seconds = tmp_path / "ledger.jsonl", 600, 180
    address = simulate(ledger, requests_per_minute=per_minute, latency_seconds=0.5, latency_spread=0.4)
    (tmp_path / "rows.csv").write_text("q\n" + "".join(f"question {number}\n" for number in range(6000)))
    (tmp_path / "job.yaml").write_text(f"""
name: learned
input: {{path: rows.csv}}
prompt: {{column: q}}
endpoint: {{url: "{address}", model: meta/llama-4-scout-17b-16e-instruct}}
parameters: {{max_tokens: 64}}
limits: {{concurrency: 64, deadline_seconds: {seconds}}}
output: {{path: answers.parquet}}
""")
    process = start("run", "job.yaml", "--json", cwd=tmp_path)
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    assert process.wait() == 4, summary
    exchanges = read_ledger(ledger)
    began = exchanges[0].asked["at"]
    replies = [(one.asked["at"] - began, one.answered["status"]) for one in exchanges if one.answered]
    sending = replies[-1][0]
    accepted = sum(status == 200 for _, status in replies)
    late = [status for at, status in replies if at >= 60]
    used, refused = accepted / (per_minute * sending / 60), late.count(429) / len(late)
    with capsys.disabled():
        print(f"\n{per_minute} a minute: {used:.1%} used, {refused:.2%} refused after the first minute")
    assert used >= 0.95
    assert refused <= 0.02
