"""CONTRACT section 5, `url: [a, b]`: equal servers behind one queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, ended

USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


def chat(asked: Asked) -> Reply:
    message = {"role": "assistant", "content": f"answer to {asked.prompt}"}
    return Reply({"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}, wait=0.01)


@pytest.fixture
def other() -> Iterator[Endpoint]:
    served = Endpoint()
    yield served
    served.close()


def job(ws: Workspace, *servers: Endpoint, rows: int = 40, **sections: Any) -> None:
    """A job that asks these servers."""
    for server in servers:
        if server.reply.__name__ == "usual":
            server.reply = chat
    ws.questions(*(f"q{number}" for number in range(rows)))
    urls = [server.url.replace("/api/v1", "/v1") for server in servers]
    ws.job(endpoint={"kind": "openai", "url": urls, "model": "m"}, **sections)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_slow_server_gets_fewer_requests_and_each_row_is_asked_once(
    ws: Workspace, endpoint: Endpoint, other: Endpoint, processes: int
) -> None:
    other.reply = lambda asked: Reply(chat(asked).body, wait=0.3)
    job(ws, endpoint, other, rows=60, limits={"concurrency": 8, "processes": processes})
    assert ws.run()["requests"] == 60
    assert sorted(endpoint.prompts + other.prompts) == sorted(f"q{number}" for number in range(60))
    assert len(endpoint.asked) > 2 * len(other.asked) > 0
    assert [row["response"] for row in ws.rows()] == [f"answer to q{number}" for number in range(60)]
    job(ws, other, endpoint, rows=60)
    assert ws.run()["requests"] == 0, "the servers are no part of what is asked"


def test_a_server_that_is_down_costs_no_row_an_attempt(ws: Workspace, endpoint: Endpoint, other: Endpoint) -> None:
    other.reply = lambda asked: Reply({"error": {"message": "down"}}, 500)
    job(ws, endpoint, other, retry={"max_attempts": 1})
    summary = ws.run()
    assert (summary["succeeded"], summary["failed"]) == (40, 0)
    assert len(other.asked) <= 8


def test_a_server_that_refuses_connections_is_left_alone(ws: Workspace, endpoint: Endpoint) -> None:
    gone = Endpoint()
    gone.close()
    job(ws, gone, endpoint, retry={"max_attempts": 1})
    assert ws.run()["succeeded"] == 40


def test_a_server_that_comes_back_is_used_again(ws: Workspace, endpoint: Endpoint, other: Endpoint) -> None:
    def reply(asked: Asked) -> Reply:
        return chat(asked) if len(other.asked) > 2 else Reply({}, 503)

    other.reply = reply
    endpoint.reply = lambda asked: Reply(chat(asked).body, wait=0.2)
    job(ws, endpoint, other, rows=80, limits={"concurrency": 4, "processes": 1})
    assert ws.run()["succeeded"] == 80
    assert len(other.answered) > 20


def test_the_job_ends_with_exit_5_only_when_all_are_out(ws: Workspace, endpoint: Endpoint, other: Endpoint) -> None:
    for server in (endpoint, other):
        server.reply = lambda asked: Reply({}, 500)
    job(ws, endpoint, other, retry={"max_elapsed_seconds": 1.2})
    summary = ws.run(code=5)
    assert (summary["pending"], summary["error"]["kind"]) == (40, "outage")
    endpoint.reply = other.reply = chat
    assert ws.run()["succeeded"] == 40


def test_a_row_that_every_server_fails_at_comes_to_an_end(ws: Workspace, endpoint: Endpoint, other: Endpoint) -> None:
    for server in (endpoint, other):
        server.reply = lambda asked: Reply({}, 500) if asked.prompt == "q3" else chat(asked)
    job(ws, endpoint, other, rows=30, retry={"max_attempts": 2, "initial_seconds": 0.05})
    summary = ws.run(code=3)
    assert (summary["succeeded"], summary["failed"]) == (29, 1)


def test_a_wait_holds_for_the_server_that_asked_for_it_also_in_the_next_run(
    ws: Workspace, endpoint: Endpoint, other: Endpoint
) -> None:
    other.reply = lambda asked: Reply({}, 429, {"Retry-After": "3600"})
    job(ws, endpoint, other, limits={"concurrency": 2})
    assert ws.run("--limit", "10")["succeeded"] == 10
    assert 1 <= len(other.asked) <= 2
    asked = len(other.asked)
    assert ws.run()["succeeded"] == 40
    assert len(other.asked) == asked


def test_a_wait_holds_where_the_server_that_asked_for_it_is_the_only_one_left(
    ws: Workspace, endpoint: Endpoint, other: Endpoint
) -> None:
    other.reply = lambda asked: Reply({}, 429, {"Retry-After": "3600"})
    job(ws, endpoint, other, limits={"concurrency": 2})
    ws.run("--limit", "10")
    asked = len(other.asked)
    url = other.url.replace("/api/v1", "/v1")
    assert ws.run("--set", f"endpoint.url={url}", code=5)["error"]["kind"] == "retry_after"
    assert len(other.asked) == asked


def test_waits_of_all_servers_beyond_the_longest_stop_the_run(
    ws: Workspace, endpoint: Endpoint, other: Endpoint
) -> None:
    for server in (endpoint, other):
        server.reply = lambda asked: Reply({}, 429, {"Retry-After": "3600"})
    job(ws, endpoint, other, limits={"concurrency": 2})
    assert ws.run(code=5)["error"]["kind"] == "retry_after"
    assert ws.run(code=5)["requests"] == 0


@pytest.mark.parametrize("status", [401, 402])
def test_a_wrong_key_at_one_server_stops_the_run(
    ws: Workspace, endpoint: Endpoint, other: Endpoint, status: int
) -> None:
    other.reply = lambda asked: Reply({"error": "no"}, status)
    job(ws, endpoint, other)
    assert ws.run(code=5)["failed"] == 0


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_without_the_model_is_left_out_with_a_warning(
    ws: Workspace, endpoint: Endpoint, other: Endpoint, status: int
) -> None:
    other.reply = lambda asked: Reply({"error": {"message": "no such model"}}, status)
    job(ws, endpoint, other)
    with ws.running("--verbose") as process:
        result = ended(process)
    assert (result.code, result.data["succeeded"]) == (0, 40)
    assert f"{other.port}" in result.err and "left out" in result.err
    endpoint.reply = other.reply
    job(ws, endpoint, other, name="none", output={"path": "none.parquet"})
    summary = ws.run(code=5)
    assert (summary["pending"], summary["error"]["kind"]) == (
        40,
        "model_not_found" if status == 404 else "not_allowed",
    )


def test_lists_that_make_no_sense_are_refused(ws: Workspace) -> None:
    ws.questions("a")

    def keys(url: Any, kind: str = "openai") -> list[str]:
        ws.job(endpoint={"kind": kind, "url": url})
        return [error["key"] for error in ws.command("validate", code=2)["errors"]]

    assert keys(["http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/"]) == ["endpoint.url[1]"]
    assert keys(["http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/chat/completions"]) == ["endpoint.url[1]"]
    assert keys(["http://127.0.0.1:1/v1", "simulator"]) == ["endpoint.url[1]"]
    assert keys([]) == ["endpoint.url"]
    assert keys(["http://127.0.0.1:1", "http://127.0.0.1:2"], "dataoorts") == ["endpoint.url"]
