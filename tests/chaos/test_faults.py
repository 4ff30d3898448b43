"""Signals, and every fault of docs/simulator.md that a row can meet, in whole jobs."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.simulator import FAULTS, Exchange, prompt_digest, read_ledger

Start = Callable[..., subprocess.Popen[str]]
Simulate = Callable[..., str]

STOPPING = {
    "401": "bad_credentials",
    "402": "payment_required",
    "daily_quota": "daily_quota",
    "redirect": "redirected",
    "429_huge": "retry_after",
}
PERMANENT = {
    "400": {"bad_request"},
    "403": {"not_allowed"},
    "model_not_found": {"model_not_found"},
    "too_large": {"request_too_large"},
    "schema_not_supported": {"schema_not_supported"},
    "deep_json": {"reply_too_large"},
    "gzip_bomb": {"reply_too_large"},
    "endless": {"reply_too_large", "timeout"},
}
ANSWERED = {
    "empty_response",
    "null_response",
    "object_response",
    "list_response",
    "number_response",
    "hostile_response",
    "tool_calls_flat",
    "tool_calls_wrapped",
    "wrong_charset",
    "invalid_utf8",
    "usage_missing",
    "usage_zero",
    "usage_negative",
    "usage_fractional",
    "usage_text",
    "usage_absurd",
    "refusal",
    "reasoning",
}
ONCE = {"429", "429_seconds", "429_date", "429_negative", "429_nan", "429_garbage", "out_of_capacity"}
"""A 429 uses up no attempt, so these come once and the row is answered."""

PASSING = {"timeout", "server_error", "gateway_error", "connection_error", "invalid_reply"}
BUSY = {"503": {*PASSING, "rate_limited"}, "529": {*PASSING, "rate_limited"}}
"""A row that alone is always refused so, while others are answered."""

CONCURRENCY = 8
MOST_MEMORY_BYTES = 700 * 2**20


def job(address: str, timeout_seconds: float = 60, drain_seconds: float = 30) -> str:
    return f"""
name: hard-times
input: {{path: prompts.csv, id: id}}
prompt: {{column: prompt}}
endpoint: {{url: "{address}", model: meta/llama-4-scout-17b-16e-instruct}}
parameters: {{max_tokens: 256}}
limits: {{concurrency: {CONCURRENCY}, timeout_seconds: {timeout_seconds}, drain_seconds: {drain_seconds}}}
retry: {{max_attempts: 2, initial_seconds: 0.05, max_seconds: 0.2, max_elapsed_seconds: 60}}
output: {{path: answers.parquet}}
"""


def write_prompts(directory: Path, prompts: list[str]) -> None:
    with (directory / "prompts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "prompt"))
        writer.writerows((f"row-{number}", prompt) for number, prompt in enumerate(prompts))


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], int]:
    """Wait for a run with --json; its exit code, summary and the most memory it held, in bytes."""
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, summary, used.ru_maxrss * 1024


def usable(exchanges: list[Exchange]) -> Counter[str]:
    """How often each prompt got a usable reply."""
    return Counter(
        exchange.asked["prompt"]
        for exchange in exchanges
        if exchange.answered and exchange.answered["delivered"] and exchange.answered["response"]
    )


@pytest.mark.parametrize("part", range(3))
def test_every_fault_ends_in_a_typed_outcome_and_memory_stays_bounded(
    part: int, start: Start, simulate: Simulate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [name for name in FAULTS if name not in STOPPING][part::3]
    # Four plain rows to a fault: failures that come one upon the other would be an outage, which fails no row.
    names = [name for fault in faults for name in (fault, *["none"] * 4)]
    names = [*names, *["none"] * 100][:100]
    prompts = [_prompt(number, name) for number, name in enumerate(names)]
    write_prompts(tmp_path, prompts)
    address = simulate(tmp_path / "ledger.jsonl", latency_seconds=0.2)
    (tmp_path / "job.yaml").write_text(job(address, timeout_seconds=3))
    code, summary, memory = finish(start("run", "job.yaml", "--json", cwd=tmp_path))

    assert (code, summary["rows"], summary["pending"]) == (3, 100, 0)
    output = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    assert [line["prompt"] for line in output] == prompts
    for line, name in zip(output, names, strict=True):
        if name in ANSWERED | ONCE | {"none"}:
            assert (line["status"], line["error_kind"]) == ("succeeded", None), name
        else:
            assert line["error_kind"] in (PERMANENT | BUSY).get(name, PASSING), (name, line["error_kind"])
            assert line["error_message"]
            # What several rows in a row meet may look like an outage, and then attempts do not count.
            assert (
                line["attempts"] >= 2 if line["error_kind"] in {*PASSING, "rate_limited"} else line["attempts"] == 1
            ), name
    exchanges = read_ledger(tmp_path / "ledger.jsonl")
    billed = sum((Decimal(one.answered["cost_usd"]) for one in exchanges if one.answered), Decimal(0))
    assert Decimal(summary["job_cost_usd"]) + Decimal(summary["possibly_billed_usd"]) >= billed
    assert summary["requests"] == len(exchanges) == sum(line["attempts"] for line in output)
    assert memory < MOST_MEMORY_BYTES
    with capsys.disabled():
        print(
            f"\n{len(faults)} faults among 100 rows: {summary['seconds']:.1f} s, {summary['failed']} failed,"
            f" {memory / 2**20:.0f} MiB"
        )


def test_rows_that_always_fail_at_the_head_of_the_input_keep_no_other_row_from_its_answer(
    start: Start, simulate: Simulate, tmp_path: Path
) -> None:
    failing = 2 * CONCURRENCY
    write_prompts(tmp_path, [_prompt(n, "500" if n < failing else "none") for n in range(100)])
    (tmp_path / "job.yaml").write_text(job(simulate(tmp_path / "ledger.jsonl")))
    code, summary, _ = finish(start("run", "job.yaml", "--json", "--set", "retry.max_elapsed_seconds=5", cwd=tmp_path))
    # Once only they are left, nothing tells their failures from an outage.
    assert (code, summary["failed"] + summary["pending"]) in ((3, failing), (5, failing))
    assert summary["succeeded"] == 100 - failing


@pytest.mark.parametrize("fault", STOPPING)
def test_a_fault_of_the_whole_job_stops_it_and_fails_no_row(
    fault: str, start: Start, simulate: Simulate, tmp_path: Path
) -> None:
    write_prompts(tmp_path, [f"Add two numbers, {n}. [[fault: {fault} x1]]" if n == 50 else f"{n}" for n in range(100)])
    (tmp_path / "job.yaml").write_text(job(simulate(tmp_path / "ledger.jsonl")))
    code, summary, _ = finish(start("run", "job.yaml", "--json", cwd=tmp_path))
    assert (code, summary["failed"], summary["error"]["kind"]) == (5, 0, STOPPING[fault])
    assert summary["pending"] > 0
    assert pq.read_table(tmp_path / "answers.partial.parquet").num_rows == summary["succeeded"]
    code, summary, _ = finish(start("run", "job.yaml", "--json", cwd=tmp_path))
    if fault == "429_huge":
        assert (code, summary["requests"]) == (5, 0), "the endpoint's pause is kept over a restart"
    else:
        assert (code, summary["succeeded"]) == (0, 100)
        assert set(usable(read_ledger(tmp_path / "ledger.jsonl")).values()) == {1}


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_drains_and_the_next_run_goes_on(
    number: signal.Signals, exit_code: int, start: Start, simulate: Simulate, tmp_path: Path
) -> None:
    write_prompts(tmp_path, [f"Add two numbers, {n}." for n in range(300)])
    address = simulate(tmp_path / "ledger.jsonl", latency_seconds=0.2, latency_spread=0.5)
    (tmp_path / "job.yaml").write_text(job(address))
    process = start("run", "job.yaml", "--json", cwd=tmp_path)
    _wait_for_answers(tmp_path, 50)
    process.send_signal(number)
    code, summary, _ = finish(process)
    asked = read_ledger(tmp_path / "ledger.jsonl")
    assert (code, summary["status"]) == (exit_code, "interrupted")
    assert summary["succeeded"] == len(asked) == summary["requests"], "an answer in flight was not brought home"
    assert summary["possibly_billed_usd"] == "0"
    assert pq.read_table(tmp_path / "answers.partial.parquet").num_rows == summary["succeeded"]
    code, summary, _ = finish(start("run", "job.yaml", "--json", cwd=tmp_path))
    assert (code, summary["succeeded"], summary["requests"]) == (0, 300, 300 - len(asked))
    assert not (tmp_path / "answers.partial.parquet").exists()
    _check_answers(tmp_path, at_most_again=0)


def test_a_second_signal_stops_at_once_and_costs_no_more_than_the_slots(
    start: Start, simulate: Simulate, tmp_path: Path
) -> None:
    write_prompts(tmp_path, [f"Add two numbers, {n}." for n in range(60)])
    address = simulate(tmp_path / "ledger.jsonl", latency_seconds=3)
    (tmp_path / "job.yaml").write_text(job(address))
    process = start("run", "job.yaml", "--json", cwd=tmp_path)
    _wait_for_answers(tmp_path, CONCURRENCY)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(1.1)  # the same signal within a second counts once
    signalled = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, summary, _ = finish(process)
    assert code == 130
    assert time.monotonic() - signalled < 1.5
    lost = len(read_ledger(tmp_path / "ledger.jsonl")) - summary["succeeded"]
    assert 0 < lost <= CONCURRENCY
    assert Decimal(summary["possibly_billed_usd"]) > 0
    code, summary, _ = finish(start("run", "job.yaml", "--json", cwd=tmp_path))
    assert (code, summary["succeeded"]) == (0, 60)
    _check_answers(tmp_path, at_most_again=0)
    assert len(read_ledger(tmp_path / "ledger.jsonl")) == 60 + lost


def _prompt(number: int, fault: str) -> str:
    marker = "" if fault == "none" else f" [[fault: {fault}{' x1' if fault in ONCE else ''}]]"
    return f"Add two numbers, {number}.{marker}"


def _wait_for_answers(directory: Path, count: int) -> None:
    give_up = time.monotonic() + 60
    while sum(usable(read_ledger(directory / "ledger.jsonl")).values()) < count:
        assert time.monotonic() < give_up
        time.sleep(0.02)


def _check_answers(directory: Path, at_most_again: int) -> None:
    """Each row has the answer to its own prompt, and nothing that came home was asked for again."""
    output = pq.read_table(directory / "answers.parquet").to_pylist()
    assert [line["id"] for line in output] == [f"row-{number}" for number in range(len(output))]
    for line in output:
        digest = prompt_digest([{"role": "user", "content": line["prompt"]}])
        assert line["response"].startswith(f"[{digest}]")
    assert sum(usable(read_ledger(directory / "ledger.jsonl")).values()) - len(output) <= at_most_again
