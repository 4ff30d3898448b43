"""CONTRACT section 3, "possibly billed", and section 4, promise 5, by the witness of the endpoint's own ledger."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from tests.functional.conftest import Simulated, Workspace, ended, wait_until
from tests.support.oracle import SOCKET_SECONDS, Ledger, billed, is_known

RETRY = {"max_attempts": 2, "initial_seconds": 0.01, "max_seconds": 0.02}
FAULTS = ("", "success_false_billed x1", "504 x3", "usage_missing", "", "truncated x1", "400", "bad_json x1")
"""Billed and not, known and unknown, passing and lasting."""


def questions(count: int) -> list[str]:
    """Prompts that differ, and meet the faults in turn."""
    faults = [FAULTS[number % len(FAULTS)] for number in range(count)]
    return [f"question {number} " + (f"[[fault: {fault}]]" if fault else "") for number, fault in enumerate(faults)]


def check_bill(found: Mapping[str, Any], served: Simulated, *, is_exact: bool) -> tuple[Decimal, Decimal]:
    """Hold a summary's money to the ledger. It is exact as long as no reply came to a run that was cut off."""
    time.sleep(SOCKET_SECONDS)
    ledger = Ledger(served.ledger)
    cost, possibly = Decimal(found["job_cost_usd"]), Decimal(found["possibly_billed_usd"])
    known = sum((billed(one) for one in ledger.exchanges if is_known(one)), Decimal(0))
    assert cost == known if is_exact else cost <= known
    assert cost + possibly >= ledger.billed
    return cost, possibly


def test_the_cost_is_what_the_ledger_billed_whatever_the_job_goes_through(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--latency-seconds", "0.05")
    rows = questions(24)
    ws.questions(*rows)
    job: dict[str, Any] = {"endpoint": {"url": served.url}, "limits": {"concurrency": 6}, "retry": RETRY}
    ws.job(**job)
    bills = [check_bill(ws.run(code=3), served, is_exact=True)]
    bills.append(check_bill(ws.command("retry-failed", code=3), served, is_exact=True))

    # Answers that are replaced, in a run that is cut off: by a second signal, and by a kill.
    ws.job(**job, prompt={"user": "Again: {{ question }}"})
    with ws.running("--on-change", "rerun") as process:
        wait_for_more(served, 9)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        result = ended(process)
    assert result.code == 143
    bills.append(check_bill(result.data, served, is_exact=False))
    with ws.running("--on-change", "rerun") as process:
        wait_for_more(served, 9)
        process.kill()
    bills.append(check_bill(ws.command("status"), served, is_exact=False))
    whole = ws.run("--on-change", "rerun", code=3)
    bills.append(check_bill(whole, served, is_exact=False))

    # Answers that rows under new ids take over cost nothing.
    ws.given([[f"new {number}", question] for number, question in enumerate(rows)], ["id", "question"])
    ws.job(**job, prompt={"user": "Again: {{ question }}"}, input={"id": "id"})
    found = ws.run(code=3)
    assert found["requests"] - found["retries"] <= 24 - whole["succeeded"]
    bills.append(check_bill(found, served, is_exact=False))
    assert bills == sorted(bills), "money that was spent went away again"
    assert [one for _, one in bills] == sorted(one for _, one in bills)
    assert sum(row["cost_usd"] or 0 for row in ws.rows()) <= bills[-1][0]


def test_a_cap_holds_for_what_the_endpoint_billed_over_kills_and_faults(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--latency-seconds", "0.1")
    ws.questions(*questions(80))
    cap = Decimal("0.002")
    ws.job(endpoint={"url": served.url}, limits={"concurrency": 8, "max_cost_usd": float(cap)}, retry=RETRY)
    for _ in range(2):
        with ws.running() as process:
            wait_for_more(served, 10)
            process.kill()
    found = ws.run(code=4)
    assert found["error"]["kind"] == "cost_cap"
    cost, possibly = check_bill(found, served, is_exact=False)
    assert cost + possibly <= cap
    assert Ledger(served.ledger).billed <= cap
    assert ws.run(code=4)["requests"] == 0
    raised = ws.pipeline("run", "job.yaml", "--json", "--set", "limits.max_cost_usd=1", "--limit", "1")
    assert raised.data["requests"] >= 1


def wait_for_more(served: Simulated, requests: int) -> None:
    """Until the endpoint was asked so many times more."""
    before = len(served.records("asked")) if served.ledger.exists() else 0
    wait_until(lambda: served.ledger.exists() and len(served.records("asked")) >= before + requests)


def test_a_row_without_max_tokens_under_a_cap_fails_alone_and_the_others_are_sent(ws: Workspace) -> None:
    rows = [{"q": f"q{n}", "n": None if n == 1 else 50} for n in range(6)]
    (ws.path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job: dict[str, Any] = {
        "input": {"path": "in.jsonl"},
        "prompt": {"user": "{{ q }}"},
        "parameters": {"max_tokens": {"column": "n"}},
        "endpoint": {"url": "simulator", "kind": "openai"},
        "pricing": {"input_usd_per_million": 1, "output_usd_per_million": 1},
    }
    ws.job(**job, limits={"max_cost_usd": 1000})
    found = ws.run(code=3)
    assert (found["succeeded"], found["failed"], found["pending"]) == (5, 1, 0)
    failed = ws.rows()[1]
    assert (failed["error_kind"], failed["attempts"]) == ("prompt_error", 0)
    assert "column 'n' is empty" in failed["error_message"]
    ws.job(**job)  # without a cap the row can be asked
    assert ws.run()["requests"] == 1


def test_a_catalogue_of_ones_own_prices_every_answer_and_holds_the_cap(ws: Workspace) -> None:
    ws.questions("one", "two", "three")
    (ws.path / "models.yaml").write_text(
        "models:\n  - name: meta/llama-4-scout-17b-16e-instruct\n    input_usd_per_million: 100\n"
        "    output_usd_per_million: 1000\n    context_window: 130000\n"
    )
    ws.job(catalogue="models.yaml", parameters={"max_tokens": 1000}, limits={"max_cost_usd": 0.5})
    assert ws.run(code=4)["error"]["kind"] == "cost_cap"
    ws.job(catalogue="models.yaml", parameters={"max_tokens": 1000}, limits={"max_cost_usd": 50})
    found = ws.run()
    assert found["prompt_tokens"] > 0 < found["completion_tokens"]
    paid = Decimal(found["prompt_tokens"]) * 100 + Decimal(found["completion_tokens"]) * 1000
    assert Decimal(found["cost_usd"]) == paid / 10**6
