"""CONTRACT section 5: what goes to an OpenAI-compatible server, and what becomes of what it says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, Workspace

USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


def completion(content: Any = "4", *, usage: Any = USAGE, finish: str | None = "stop", **message: Any) -> Reply:
    """A sound reply of chat/completions."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return Reply({"object": "chat.completion", "model": "served", "choices": [choice], "usage": usage})


def chat(asked: Asked) -> Reply:
    return completion(f"answer to {asked.prompt}")


@pytest.fixture
def server(endpoint: Endpoint) -> Endpoint:
    """A server that answers as OpenAI's does."""
    endpoint.reply = chat
    return endpoint


def openai_job(ws: Workspace, endpoint: dict[str, Any] | None = None, **sections: Any) -> None:
    """A job that asks the server's `/v1`."""
    base = ws.url.replace("/api/v1", "/v1")
    sections.setdefault("parameters", {"max_tokens": 100})
    ws.job(endpoint={"kind": "openai", "url": base, "model": "some/model", **(endpoint or {})}, **sections)


def test_parameters_of_other_servers_are_sent_as_they_are(ws: Workspace, server: Endpoint) -> None:
    ws.questions("a")
    openai_job(ws, parameters={
        "temperature": 7, "top_p": 1.5, "top_k": -1, "max_tokens": 8, "seed": 0, "repetition_penalty": 3,
        "frequency_penalty": -3, "presence_penalty": -2, "min_p": 0.05, "stop": ["###", "\n"],
        "reasoning_effort": "low",
    })  # fmt: skip
    ws.run()
    assert server.asked[0].body == {
        "model": "some/model", "messages": [{"role": "user", "content": "a"}], "stream": False,
        "temperature": 7.0, "top_p": 1.5, "top_k": -1, "max_tokens": 8, "seed": 0, "repetition_penalty": 3.0,
        "frequency_penalty": -3.0, "presence_penalty": -2.0, "min_p": 0.05, "stop": ["###", "\n"],
        "reasoning_effort": "low",
    }  # fmt: skip


def test_stop_and_effort_may_come_from_a_column(ws: Workspace, server: Endpoint) -> None:
    ws.given([["a", "###", "low"], ["b", "", ""]], ["question", "end", "effort"])
    openai_job(ws, parameters={"stop": {"column": "end"}, "reasoning_effort": {"column": "effort"}})
    ws.run()
    sent = {asked.prompt: asked.body for asked in server.asked}
    assert (sent["a"]["stop"], sent["a"]["reasoning_effort"]) == ("###", "low")
    assert not {"stop", "reasoning_effort"} & sent["b"].keys()


def test_dataoorts_takes_none_of_them_and_keeps_its_ranges(ws: Workspace, server: Endpoint) -> None:
    ws.questions("a")
    ws.job(parameters={"min_p": 0.1, "stop": "x", "reasoning_effort": "low", "temperature": 7})
    errors = ws.command("validate", code=2)["errors"]
    keys = {"parameters.min_p", "parameters.stop", "parameters.reasoning_effort", "parameters.temperature"}
    assert {error["key"] for error in errors} == keys


@pytest.mark.parametrize("stop", ["", [], [""], 5, [5], {"a": 1}])
def test_a_stop_that_is_no_text_is_refused(ws: Workspace, server: Endpoint, stop: Any) -> None:
    ws.questions("a")
    openai_job(ws, parameters={"stop": stop})
    assert ws.command("validate", code=2)["errors"][0]["key"].startswith("parameters.stop")
    assert not server.asked


@pytest.mark.parametrize("most", [0, -1])
def test_a_bound_that_bounds_nothing_is_sent_but_holds_no_cap(ws: Workspace, server: Endpoint, most: int) -> None:
    ws.questions("a")
    openai_job(ws, parameters={"max_tokens": most})
    ws.run()
    assert server.asked[0].body["max_tokens"] == most
    price = {"input_usd_per_million": 1, "output_usd_per_million": 1}
    openai_job(ws, parameters={"max_tokens": most}, limits={"max_cost_usd": 1}, pricing=price)
    assert ws.command("validate", code=2)["errors"][0]["key"] == "parameters.max_tokens"
