"""Whether a refusal is the row's or the job's, on what real servers said (tests/wire)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, Workspace

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
    endpoint.reply = lambda asked: recorded(exchange)
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
