"""CONTRACT section 1, the table of exits: 3, 4, 5 and 75, each resumable, with nothing lost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from pipeline.journal import lock
from tests.functional.conftest import (
    RUN_KEYS,
    Asked,
    Endpoint,
    Reply,
    Workspace,
    answer,
    ended,
    refusal,
    usual,
    wait_until,
)
from tests.support.commands import Result

JOBS_KEYS = ("rows", "succeeded", "failed", "pending", "unpriced_rows", "job_cost_usd", "possibly_billed_usd", "output")


def test_exit_3_when_a_row_failed_and_the_output_says_which_and_why(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "bad", "c")
    ws.job()
    endpoint.reply = lambda asked: refusal(400, 5006, "Bad input") if asked.prompt == "bad" else usual(asked)
    found = ws.run(code=3)
    assert found.keys() == RUN_KEYS
    assert (found["succeeded"], found["failed"], found["pending"], found["output"]) == (2, 1, 0, "out.parquet")
    bad = ws.rows()[1]
    assert (bad["status"], bad["error_kind"], bad["http_status"], bad["attempts"]) == ("failed", "bad_request", 400, 1)
    assert "Bad input" in bad["error_message"]
    assert bad["response"] is bad["cost_usd"] is bad["response_type"] is None
    assert ws.run(code=3)["requests"] == 0


@pytest.mark.parametrize("cap", ["max_cost_usd", "max_run_cost_usd"])
def test_exit_4_at_a_cost_cap_which_holds_with_the_worst_case_reserved(
    ws: Workspace, endpoint: Endpoint, cap: str
) -> None:
    ws.questions(*range(40))
    ws.job(limits={cap: 0.0003})
    endpoint.reply = lambda asked: answer("x", usage={"prompt_tokens": 40, "completion_tokens": 100}, wait=0.02)
    each = Decimal("0.0000468")
    found = ws.run(code=4)
    assert found["error"]["kind"]
    assert cap in found["error"]["message"]
    assert 1 <= found["succeeded"] < 40
    assert Decimal(found["cost_usd"]) == each * len(endpoint.asked) <= Decimal("0.0003")
    again = ws.run(code=4)
    if cap == "max_cost_usd":
        assert again["requests"] == 0
    else:
        assert again["requests"] >= 1
        assert Decimal(again["cost_usd"]) <= Decimal("0.0003")
    assert len(set(endpoint.prompts)) == len(endpoint.prompts)


def test_what_was_possibly_billed_counts_against_the_cap(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(20))
    ws.job(limits={"max_cost_usd": 0.0005, "concurrency": 1})
    endpoint.reply = lambda asked: answer("x", usage=None)
    found = ws.run(code=4)
    assert 1 <= found["unpriced_rows"] == found["succeeded"] <= 8
    assert Decimal(found["job_cost_usd"]) == 0
    assert 0 < Decimal(found["possibly_billed_usd"]) <= Decimal("0.0005")


def test_exit_4_at_the_deadline_keeps_what_was_in_flight(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(30))
    ws.job(limits={"deadline_seconds": 0.5, "concurrency": 2})
    endpoint.reply = lambda asked: answer("x", wait=0.3)
    found = ws.run(code=4)
    assert "deadline" in found["error"]["message"]
    assert found["succeeded"] == len(endpoint.asked) == found["requests"]
    assert found["output"] == "out.partial.parquet"
    assert ws.table("out.partial.parquet").num_rows == found["succeeded"]
    assert not ws.exists("out.parquet")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(401, 10000, "Authentication error"), "bad_credentials"),
        (refusal(402), "payment_required"),
        (refusal(404, 5007, "No such model"), "model_not_found"),
        (refusal(403, 3023, "blocked"), "not_allowed"),
        (refusal(429, 4006, "daily free allocation used up"), "daily_quota"),
        (Reply(b"", 302, {"Location": "http://127.0.0.1:9/api/v1"}), "redirected"),
        (Reply(b"", 308, {"Location": "/api/v1/"}), "redirected"),
    ],
    ids=["401", "402", "model", "403", "quota", "302", "308"],
)
def test_exit_5_when_the_endpoint_refuses_the_job_and_no_row_fails_for_it(
    ws: Workspace, endpoint: Endpoint, reply: Reply, kind: str
) -> None:
    ws.questions(*range(12))
    ws.job(limits={"concurrency": 2})
    endpoint.reply = lambda asked: reply
    found = ws.run(code=5)
    assert found["error"]["kind"] == kind
    assert (found["succeeded"], found["failed"], found["pending"]) == (0, 0, 12)
    assert len(endpoint.asked) <= 2
    if kind == "redirected":
        assert "a redirect, which is never followed" in found["error"]["message"]
        return
    endpoint.reply = usual
    assert ws.run()["succeeded"] == 12
    assert [row["status"] for row in ws.rows()] == ["succeeded"] * 12


def test_exit_5_midway_drains_and_keeps_the_answers_in_flight(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(20))
    ws.job(limits={"concurrency": 4})
    endpoint.reply = lambda asked: refusal(401, 10000) if asked.prompt == "6" else answer("x", wait=0.3)
    found = ws.run(code=5)
    answered = [asked.prompt for asked in endpoint.answered if asked.prompt != "6"]
    assert found["succeeded"] == len(answered) >= 5
    assert {row["question"] for row in ws.rows("out.partial.parquet")} == set(answered)
    endpoint.reply = usual
    ws.run()
    assert sorted(endpoint.prompts) == sorted([*map(str, range(20)), "6"])
    assert not ws.exists("out.partial.parquet")


@pytest.mark.parametrize(
    "reply",
    [
        refusal(402),
        refusal(403, 3041, "not allowed"),
        refusal(404, 5007),
        refusal(429, 3036),
        refusal(401),
    ],
    ids=["402", "403", "model", "quota", "401"],
)
def test_exit_5_midway_stops_within_what_is_in_flight_and_no_row_fails_for_it(
    ws: Workspace, endpoint: Endpoint, reply: Reply
) -> None:
    ws.questions(*range(40))
    ws.job(limits={"concurrency": 3}, retry={"max_attempts": 1})
    # An answer that came in after a refusal would show that the refusal was its row's fault.
    late = replace(reply, wait=0.1)
    endpoint.reply = lambda asked: late if len(endpoint.asked) > 12 else usual(asked)
    found = ws.run(code=5)
    assert 10 <= found["succeeded"] <= 12
    assert (found["failed"], found["pending"]) == (0, 40 - found["succeeded"])
    # A 403 or 404 might be its row's fault: the run stops once five in a row end so.
    assert len(endpoint.asked) <= 12 + (5 + 2 if reply.status in (403, 404) else 3)
    endpoint.reply = usual
    found = ws.run()
    assert (found["succeeded"], found["failed"]) == (40, 0)
    assert {row["attempts"] for row in ws.rows()} <= {1, 2}


def test_exit_5_after_an_outage_which_fails_no_row(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(10))
    ws.job(retry={"max_elapsed_seconds": 0.8, "max_attempts": 2})
    endpoint.reply = lambda asked: refusal(500, 3043, "the model is gone")
    found = ws.run("--log-file", "run.log", code=5)
    assert (found["succeeded"], found["failed"], found["pending"]) == (0, 0, 10)
    assert "max_elapsed_seconds" in found["error"]["message"]
    assert found["error"]["message"].endswith("HTTP 500: 3043: the model is gone")
    log = (ws.path / "run.log").read_text()
    assert "failures in a row, the last one: HTTP 500: 3043: the model is gone; the run gives up in" in log
    endpoint.reply = usual
    assert ws.run()["succeeded"] == 10


def test_exit_5_when_nobody_listens_and_nothing_counts_as_billed(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(3))
    endpoint.close()
    ws.job(retry={"max_elapsed_seconds": 0.5, "max_attempts": 2})
    found = ws.run(code=5)
    assert (found["requests"], found["failed"], found["pending"]) == (0, 0, 3)
    assert Decimal(found["possibly_billed_usd"]) == 0


def test_an_outage_that_passes_is_no_rows_fault(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(12))
    ws.job(retry={"max_attempts": 2})
    start: list[float] = []

    def reply(asked: Asked) -> Reply:
        start[:] = start or [asked.at]
        return refusal(503) if asked.at < start[0] + 0.8 else usual(asked)

    endpoint.reply = reply
    found = ws.run()
    assert found["succeeded"] == 12


def test_exit_75_while_another_run_holds_the_lock_and_nothing_is_touched(
    ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_PATIENCE_SECONDS", 0.05)
    ws.questions(*range(4))
    ws.job(limits={"concurrency": 1})
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(1)
        silent = ws.pipeline("run", "job.yaml")
        assert (silent.code, silent.out, silent.err) == (75, "", "")
        found = ws.run(code=75)
        assert found["error"]["kind"] == "job_locked"
        assert found["requests"] == 0
        shown = ws.command("status")
        assert {name: found[name] for name in JOBS_KEYS} == {name: shown[name] for name in JOBS_KEYS}
        assert (found["rows"], found["pending"], found["job_cost_usd"]) == (4, 4, "0")
        assert ws.pipeline("retry-failed", "job.yaml").code == 75
        for command in (("estimate", "job.yaml"), ("export", "job.yaml", "--to", "csv", "x.csv")):
            assert ws.pipeline(*command) == Result(75, "", "")
        endpoint.gate.set()
        assert ended(process).code == 0
    assert len(endpoint.asked) == 4


@pytest.mark.parametrize("case", ["settings", "content", "foreign output", "job file", "ray", "empty input"])
def test_exit_2_says_what_is_known_of_the_job(ws: Workspace, endpoint: Endpoint, case: str) -> None:
    rows = [[n, f"q{n}"] for n in range(4)]
    ws.given(rows, ["id", "question"])
    ws.job(input={"id": "id"})
    ran = ws.run()
    flags: tuple[str, ...] = ()
    if case == "settings":
        ws.job(input={"id": "id"}, prompt={"user": "Say {{ question }}"})
    elif case == "content":
        ws.given([[row, "other"] for row, _ in rows], ["id", "question"])
    elif case == "foreign output":
        (ws.path / "out.parquet").write_text("mine")
    elif case == "job file":
        ws.job(input={"id": "id"}, limits={"concurrency": 0})
    elif case == "ray":
        flags = ("--engine", "ray")
    else:
        ws.given([], ["id", "question"])
    found = ws.run(*flags, code=2)
    output = None if case == "foreign output" else "out.parquet"
    assert {name: found[name] for name in JOBS_KEYS} == {**{name: ran[name] for name in JOBS_KEYS}, "output": output}
    assert (found["job"], found["requests"], found["cost_usd"]) == ("job", 0, "0")
    assert len(endpoint.asked) == 4


def test_limit_sends_the_first_rows_in_input_order_and_only_the_partial_output_is_written(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "bad", "c", "d")
    ws.job()
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else usual(asked)
    first = ws.run("--limit", "1")
    assert (endpoint.prompts, first["pending"], first["output"]) == (["a"], 3, "out.partial.parquet")
    assert ws.run("--limit", "2", code=3)["pending"] == 1
    assert sorted(endpoint.prompts) == ["a", "bad", "c"]
    assert not ws.exists("out.parquet")
    last = ws.run("--limit", "5", code=3)
    assert (last["requests"], last["pending"], last["output"]) == (1, 0, "out.parquet")
    assert not ws.exists("out.partial.parquet")
    assert [row["question"] for row in ws.rows()] == ["a", "bad", "c", "d"]


def test_a_run_cap_needs_max_tokens(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(parameters={"max_tokens": None}, limits={"max_run_cost_usd": 1})
    found = ws.run(code=2)
    assert "max_tokens" in found["error"]["message"]
    assert not endpoint.asked


def test_cron_that_starts_over_itself_runs_the_job_once(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(6))
    ws.job(limits={"concurrency": 2})
    endpoint.gate.clear()
    with ws.running() as first, ws.running() as second, ws.running() as third:
        processes = (first, second, third)
        wait_until(lambda: sum(process.poll() is not None for process in processes) == 2)
        endpoint.gate.set()
        assert sorted(ended(process).code for process in processes) == [0, 75, 75]
    assert len(endpoint.asked) == 6
    assert ws.run()["requests"] == 0


@pytest.mark.parametrize(
    "arguments",
    [("show",), ("report",), ("inspect",), ("export", "--to", "jsonl", "answers.jsonl")],
    ids=lambda it: it[0],
)
def test_what_reads_answers_says_that_there_are_none_by_a_word_of_its_own(
    ws: Workspace, arguments: tuple[str, ...]
) -> None:
    ws.questions("a")
    ws.job()
    found = ws.command(*arguments, code=2)
    assert found["error"]["kind"] == "no_checkpoint"
    assert "run it first: pipeline run job.yaml" in found["error"]["message"]
    assert not ws.exists(".checkpoints")
