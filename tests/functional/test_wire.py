"""Whether a refusal is the row's or the job's, on what real servers said (tests/wire)."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import KEY, Asked, Endpoint, Reply, Workspace

USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
ANSWER = {"choices": [{"message": {"content": "the answer"}, "finish_reason": "stop"}], "usage": USAGE}
ROWS = 40


def marked(mark: str) -> list[Any]:
    files = sorted((Path(__file__).parents[1] / "wire").glob("*.json"))
    found = [(file.stem, one) for file in files for one in json.loads(file.read_text(encoding="utf-8"))["exchanges"]]
    return [pytest.param(one, id=f"{server}-{one['case']}") for server, one in found if mark in one]


def recorded(exchange: dict[str, Any]) -> Reply:
    reply = exchange["reply"]
    body = reply.encode() if isinstance(reply, str) else reply
    return Reply(body, exchange["status"], {name.title(): value for name, value in exchange["headers"].items()})


def job(ws: Workspace) -> None:
    ws.questions(*(f"q{number}" for number in range(ROWS)))
    ws.job(
        endpoint={"kind": "openai", "url": ws.url.replace("/api/v1", "/v1"), "model": "tiny"},
        retry={"max_attempts": 2, "initial_seconds": 0.05, "max_seconds": 0.1, "max_elapsed_seconds": 0.8},
    )


@pytest.mark.parametrize("exchange", marked("every_row"))
def test_what_every_row_gets_stops_the_run_early_and_fails_none(
    ws: Workspace, endpoint: Endpoint, exchange: dict[str, Any]
) -> None:
    refused = replace(recorded(exchange), wait=0.04)  # a refusal that may pass is waited for by the clock
    endpoint.reply = lambda asked: refused
    job(ws)
    summary = ws.run(code=5)
    assert (summary["error"]["kind"], summary["pending"], summary["failed"]) == (exchange["every_row"], ROWS, 0)
    assert exchange["expect"]["message"].partition(": ")[2][:60] in summary["error"]["message"]
    assert len(endpoint.asked) < ROWS
    endpoint.reply = lambda asked: Reply(ANSWER)
    assert ws.run()["succeeded"] == ROWS


@pytest.mark.parametrize("exchange", marked("one_row"))
def test_what_a_single_row_gets_fails_that_row_alone(
    ws: Workspace, endpoint: Endpoint, exchange: dict[str, Any]
) -> None:
    def reply(asked: Asked) -> Reply:
        return recorded(exchange) if asked.prompt == "q7" else Reply(ANSWER)

    endpoint.reply = reply
    job(ws)
    summary = ws.run(code=3)
    assert (summary["succeeded"], summary["failed"]) == (ROWS - 1, 1)
    failed = ws.rows()[7]
    expected = exchange["expect"]
    assert (failed["error_kind"], failed["error_message"]) == (expected["error_kind"], expected["message"])
    assert endpoint.prompts.count("q7") <= 2


@pytest.mark.parametrize(
    "exchange", [one for one in marked("every_row") if one.values[0]["every_row"] == "model_not_found"]
)
def test_what_every_row_gets_from_some_moment_on_stops_the_run_and_leaves_those_rows_pending(
    ws: Workspace, endpoint: Endpoint, exchange: dict[str, Any]
) -> None:
    answered = ROWS // 2
    endpoint.reply = lambda asked: Reply(ANSWER) if len(endpoint.asked) <= answered else recorded(exchange)
    job(ws)
    # One at a time: a refusal that arrives before the last answer fails its row.
    summary = ws.run("--set", "limits.concurrency=1", code=5)
    assert (summary["error"]["kind"], summary["succeeded"], summary["failed"]) == (exchange["every_row"], answered, 0)
    endpoint.reply = lambda asked: Reply(ANSWER)
    assert ws.run()["succeeded"] == ROWS


@pytest.mark.parametrize("exchange", marked("when_busy"))
def test_what_a_busy_server_says_to_each_row_once_fails_none(
    ws: Workspace, endpoint: Endpoint, exchange: dict[str, Any]
) -> None:
    def reply(asked: Asked) -> Reply:
        return recorded(exchange) if endpoint.prompts.count(asked.prompt) == 1 else Reply(ANSWER)

    endpoint.reply = reply
    job(ws)
    summary = ws.run()
    assert (summary["succeeded"], summary["failed"], summary["requests"]) == (ROWS, 0, 2 * ROWS)


def exchange_of(server: str, case: str) -> dict[str, Any]:
    file = Path(__file__).parents[1] / "wire" / f"{server}.json"
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["exchanges"]
    return next(one for one in found if one["case"] == case)


def test_an_answer_that_is_all_reasoning_is_asked_once_and_truncated(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: recorded(exchange_of("vllm-0.32.0-reasoning", "plain"))
    job(ws)
    assert ws.run()["requests"] == ROWS
    row = ws.rows()[0]
    assert (row["status"], row["response"], row["reasoning"]) == ("succeeded", None, "the reasoning")
    assert (row["truncated"], row["reasoning_tokens"]) == (True, None)


def test_a_request_larger_than_a_limit_stops_the_run_and_is_named(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: recorded(exchange_of("llmock-0.2.2", "larger_than_the_minute"))
    job(ws)
    error = ws.run("--set", "limits.concurrency=1", code=5)["error"]
    assert error["kind"] == "retry_after"
    assert "1440 s" in error["message"] and "HTTP 429: Rate limit exceeded" in error["message"]
    assert "parameters.max_tokens (100) alone is larger than a limit" in error["message"]
    assert len(endpoint.asked) == 1


def test_a_run_that_sends_no_key_is_told_that_the_server_may_want_one(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: Reply(b"Internal Server Error", 500, {"Content-Type": "text/plain"})
    job(ws)
    told = ws.pipeline("run", "job.yaml", "--set", "endpoint.api_key_env=null").err
    assert "HTTP 500" in told and "endpoint.api_key_env" in told
    assert "endpoint.api_key_env" not in ws.pipeline("run", "job.yaml").err


def test_a_refusal_told_with_500_is_asked_once(ws: Workspace, endpoint: Endpoint) -> None:
    refusal = exchange_of("llama-cpp-python-0.3.36", "unknown_role")
    endpoint.reply = lambda asked: recorded(refusal) if asked.prompt == "q7" else Reply(ANSWER)
    job(ws)
    assert ws.run(code=3)["failed"] == 1
    assert endpoint.prompts.count("q7") == 1


def test_tokens_beyond_max_tokens_are_counted_and_paid_as_told(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: recorded(exchange_of("llama-cpp-python-0.3.36", "more_than_max_tokens"))
    job(ws)
    price = json.dumps({"input_usd_per_million": 1, "output_usd_per_million": 10})
    summary = ws.run("--set", "parameters.max_tokens=8", "--set", f"pricing={price}")
    assert (summary["completion_tokens"], summary["truncated"]) == (11 * ROWS, ROWS)
    assert Decimal(summary["cost_usd"]) == ROWS * (17 + 11 * 10) * Decimal("0.000001")


def test_a_text_goes_out_as_a_text_because_some_servers_lose_it_in_a_list(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: recorded(exchange_of("llama-cpp-python-0.3.36", "content_as_parts"))
    job(ws)
    ws.run("--set", "prompt.system=be brief")
    messages = [message for asked in endpoint.asked for message in asked.body["messages"]]
    assert len(messages) == 2 * ROWS
    assert {type(message["content"]) for message in messages} == {str}


@pytest.mark.parametrize("settings", [[], ["--set", "endpoint.auth={header: x-api-key, prefix: ''}"]])
def test_a_key_goes_out_as_llama_cpp_reads_it(ws: Workspace, endpoint: Endpoint, settings: list[str]) -> None:
    def reply(asked: Asked) -> Reply:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        is_known = headers.get("authorization") == f"Bearer {KEY}" or headers.get("x-api-key") == KEY
        return recorded(exchange_of("llama.cpp-11549", "key_in_x_api_key" if is_known else "bearer_in_lower_case"))

    endpoint.reply = reply
    job(ws)
    assert ws.run(*settings)["succeeded"] == ROWS
    refused = ws.run(
        "--set", "endpoint.auth={prefix: bearer}", "--set", "parameters.seed=1", "--on-change=rerun", code=5
    )
    assert refused["error"]["kind"] == "bad_credentials"


def test_a_server_s_own_parameter_goes_out_where_it_ignores_ours(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: recorded(exchange_of("llama.cpp-11549", "repetition_penalty_0"))
    job(ws)
    own = "endpoint.extra_body={repeat_penalty: 1.1}"
    assert ws.run("--set", "parameters.repetition_penalty=1.2", "--set", own)["succeeded"] == ROWS
    sent = {(asked.body["repetition_penalty"], asked.body["repeat_penalty"]) for asked in endpoint.asked}
    assert sent == {(1.2, 1.1)}


def test_a_worker_that_dies_and_comes_back_fails_no_row(ws: Workspace, endpoint: Endpoint) -> None:
    dead_seconds, answers_before = 0.4, 10
    died: list[float] = []

    def reply(asked: Asked) -> Reply:
        if len(endpoint.asked) <= answers_before:
            return Reply(ANSWER)
        died.append(asked.at)
        if asked.at - died[0] > dead_seconds:
            return Reply(ANSWER)
        # What is in flight when it dies gets the one, everything later the other.
        case = "worker_died" if asked.at - died[0] < dead_seconds / 10 else "no_worker"
        return recorded(exchange_of("vllm-router-0.1.17", case))

    endpoint.reply = reply
    job(ws)
    # One row alone may be out of attempts while the worker is dead.
    summary = ws.run("--set", "retry.max_elapsed_seconds=10")
    assert (summary["succeeded"], summary["failed"]) == (ROWS, 0)
    assert len(endpoint.asked) > ROWS
