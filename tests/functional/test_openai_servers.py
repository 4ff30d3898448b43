"""CONTRACT section 5: what goes to an OpenAI-compatible server, and what becomes of what it says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import KEY, Asked, Endpoint, Reply, Workspace

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
    openai_job(
        ws,
        parameters={
            "temperature": 7,
            "top_p": 1.5,
            "top_k": -1,
            "max_tokens": 8,
            "seed": 0,
            "repetition_penalty": 3,
            "frequency_penalty": -3,
            "presence_penalty": -2,
            "min_p": 0.05,
            "stop": ["###", "\n"],
            "reasoning_effort": "low",
        },
    )
    ws.run()
    assert server.asked[0].body == {
        "model": "some/model",
        "messages": [{"role": "user", "content": "a"}],
        "stream": False,
        "temperature": 7.0,
        "top_p": 1.5,
        "top_k": -1,
        "max_tokens": 8,
        "seed": 0,
        "repetition_penalty": 3.0,
        "frequency_penalty": -3.0,
        "presence_penalty": -2.0,
        "min_p": 0.05,
        "stop": ["###", "\n"],
        "reasoning_effort": "low",
    }


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


def test_headers_query_auth_and_the_field_s_name_go_out_with_every_request(ws: Workspace, server: Endpoint) -> None:
    ws.environment["TEAM"] = "hunter2-team"
    ws.questions("a")
    openai_job(
        ws,
        {
            "headers": {"X-Team": "${TEAM}", "user-agent": "mine"},
            "query": {"api-version": "2026-05-01", "a b": "ü&"},
            "auth": {"header": "api-key", "prefix": ""},
            "max_tokens_field": "max_completion_tokens",
            "extra_body": {
                "chat_template_kwargs": {"enable_thinking": False},
                "min_p": None,
                "top": [1, 0.5, {"a": "b"}],
            },
        },
    )
    ws.run()
    asked = server.asked[0]
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert (headers["x-team"], headers["api-key"], headers["user-agent"]) == ("hunter2-team", KEY, "mine")
    assert "authorization" not in headers
    assert asked.path == "/v1/chat/completions?api-version=2026-05-01&a+b=%C3%BC%26"
    assert asked.body == {
        "model": "some/model",
        "messages": [{"role": "user", "content": "a"}],
        "stream": False,
        "max_completion_tokens": 100,
        "chat_template_kwargs": {"enable_thinking": False},
        "min_p": None,
        "top": [1, 0.5, {"a": "b"}],
    }


def test_extra_body_is_part_of_what_is_asked_and_the_way_there_is_not(ws: Workspace, server: Endpoint) -> None:
    ws.questions("a")
    openai_job(ws)
    ws.run()
    hashed = ws.rows()[0]["request_hash"]
    ways: list[dict[str, Any]] = [
        {"extra_body": {}},
        {"headers": {"X-Team": "a"}},
        {"query": {"v": "1"}},
        {"auth": {"header": "x-api-key"}},
        {"max_tokens_field": "max_completion_tokens"},
    ]
    for way in ways:
        openai_job(ws, way)
        assert ws.run()["requests"] == 0, way
    openai_job(ws, {"extra_body": {"top": 1}})
    assert ws.command("estimate", code=0)["rows"]["changed"] == 1
    assert ws.run("--on-change", "rerun")["requests"] == 1
    assert ws.rows()[0]["request_hash"] != hashed
    assert ws.run()["requests"] == 0


def test_dataoorts_gets_extra_keys_within_its_data(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(endpoint={"extra_body": {"guided_json": {"type": "object"}}, "headers": {"X-Team": "a"}})
    ws.run()
    data = endpoint.asked[0].body["data"]
    assert data == {
        "messages": [{"role": "user", "content": "a"}],
        "max_tokens": 100,
        "guided_json": {"type": "object"},
    }
    assert endpoint.asked[0].headers["X-Team"] == "a"


def test_a_header_s_value_stands_nowhere(ws: Workspace, server: Endpoint) -> None:
    literal, named = "hunter2-literal", "hunter2-named"
    ws.environment["TEAM"] = named
    ws.questions("bad", "good")

    def echo(asked: Asked) -> Reply:
        words = f"headers: {asked.headers['X-Literal']} {asked.headers['X-Named']}"
        return completion(words) if asked.prompt == "good" else Reply({"error": {"message": words}}, 400)

    server.reply = echo
    openai_job(ws, {"headers": {"X-Literal": literal, "X-Named": "${TEAM}"}}, limits={"processes": 2})
    commands = (
        "validate job.yaml --show 1",
        "validate job.yaml --show 1 --json",
        "run job.yaml --verbose --log-format json",
        "status job.yaml",
        "show job.yaml --json",
        "report job.yaml",
    )
    results = [ws.pipeline(*command.split()) for command in commands]
    (ws.path / "job.yaml").unlink()
    for name, content in ws.files().items():
        assert b"hunter2" not in content, name
    for result in results:
        assert "hunter2" not in result.out + result.err
    rows = {row["question"]: row for row in ws.rows()}
    assert rows["good"]["response"] == "headers: *** ***"
    assert "headers: *** ***" in rows["bad"]["error_message"]
    metadata = pq.read_schema(ws.path / "out.parquet").metadata
    assert any(b'"X-Literal": "***"' in value or b'"X-Literal":"***"' in value for value in metadata.values())


def test_a_server_without_a_key_is_sent_none(ws: Workspace, server: Endpoint) -> None:
    ws.questions("a")
    openai_job(ws, {"api_key_env": None})
    ws.run()
    assert "Authorization" not in server.asked[0].headers


def test_a_limit_that_is_full_again_in_an_hour_stops_the_run_and_later_runs(ws: Workspace, server: Endpoint) -> None:
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h0m0s"}
    server.reply = lambda asked: Reply({"error": {"message": "slow down"}}, 429, headers)
    ws.questions("a", "b")
    openai_job(ws, limits={"concurrency": 1})
    assert ws.run(code=5)["pending"] == 2
    assert ws.run(code=5)["requests"] == 0
    assert len(server.asked) == 1


def test_a_wait_in_milliseconds_is_kept(ws: Workspace, server: Endpoint) -> None:
    server.reply = lambda asked: (
        Reply({}, 429, {"retry-after-ms": "700", "Retry-After": "9000"}) if len(server.asked) == 1 else chat(asked)
    )
    ws.questions("a")
    openai_job(ws)
    ws.run()
    assert 0.7 <= server.asked[1].at - server.asked[0].at < 9


def test_reasoning_is_parted_from_the_answer_and_the_mode_changes_no_request(ws: Workspace, server: Endpoint) -> None:
    server.reply = lambda asked: completion(f"because\n</think>\n\n{asked.prompt}")
    ws.questions("a")
    openai_job(ws, {"reasoning": "split"})
    ws.run()
    row = ws.rows()[0]
    assert (row["reasoning"], row["response"]) == ("because", "a")
    openai_job(ws, {"reasoning": "keep"})
    assert ws.run()["requests"] == 0
    ws.questions("a", "b")
    ws.run()
    assert ws.rows()[1]["response"] == "because\n</think>\n\nb"


def test_cached_tokens_cost_their_own_price_where_there_is_one(ws: Workspace, server: Endpoint) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    cached = {"prompt_tokens_details": {"cached_tokens": 600}}
    replies = {
        "cached": {**usage, **cached},
        "whole": usage,
        "beside": {**usage, **cached, "total_tokens": 1110},
        "unsound": {**usage, "prompt_tokens_details": {"cached_tokens": 1001}},
    }
    server.reply = lambda asked: completion(asked.prompt, usage=replies[asked.prompt])
    ws.questions(*replies)
    price: dict[str, Any] = {"input_usd_per_million": 2, "output_usd_per_million": 8}
    openai_job(ws, pricing={**price, "cached_input_usd_per_million": 0.5})
    summary = ws.run()
    costs = {row["question"]: str(row["cost_usd"].normalize()) for row in ws.rows()}
    assert costs == {"cached": "0.00118", "whole": "0.00208", "beside": "0.00198", "unsound": "0.00208"}
    assert summary["job_cost_usd"] == "0.00732"
    assert {row["question"]: row["cached_tokens"] for row in ws.rows()}["unsound"] is None
    assert "0.5 cached" in (ws.pipeline("report", "job.yaml"), (ws.path / "out.html").read_text())[1]
    openai_job(ws, pricing=price, name="plain", output={"path": "plain.parquet"})
    ws.run()
    assert str(ws.rows("plain.parquet")[0]["cost_usd"].normalize()) == "0.00208"


def test_a_price_list_prices_a_model_by_its_name(ws: Workspace, server: Endpoint) -> None:
    (listed,) = [
        model
        for model in ws.pipeline("models", "--prices", "groq", "--json").data["models"]
        if model["name"] == "openai/gpt-oss-20b"
    ]
    assert listed["name"] in ws.pipeline("models", "--prices", "groq").out
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    server.reply = lambda asked: completion(
        asked.prompt, usage={**usage, "prompt_tokens_details": {"cached_tokens": 400}}
    )
    ws.questions("a")
    limits = {"max_cost_usd": 1}
    openai_job(ws, {"model": listed["name"]}, pricing={"from": "genai-prices", "provider": "groq"}, limits=limits)
    note = ws.pipeline("run", "job.yaml", "--verbose").err
    assert "priced as groq was by genai-prices" in note
    assert listed["priced_on"] in note
    prices = [Decimal(listed[f"{kind}_usd_per_million"]) for kind in ("input", "cached_input", "output")]
    expected = (600 * prices[0] + 400 * prices[1] + 10 * prices[2]) / 1_000_000
    assert ws.rows()[0]["cost_usd"] == expected
    refused = ws.pipeline("models", "--prices", "grok")
    assert (refused.code, "did you mean groq?" in refused.err) == (2, True)


def test_an_unknown_price_is_warned_of_once_and_never_in_cron(ws: Workspace, server: Endpoint) -> None:
    ws.questions("a", "b")
    openai_job(ws)
    assert ws.pipeline("run", "job.yaml").err == ""
    openai_job(ws, name="loud", output={"path": "loud.parquet"})
    assert ws.pipeline("run", "job.yaml", "--verbose").err.count("no price is known for some/model") == 1
    assert ws.rows("loud.parquet")[0]["cost_usd"] is None


def test_prices_that_are_old_are_marked_where_costs_are_shown(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    mark = "prices of 2025-06-11, more than a year old"
    assert mark in ws.pipeline("estimate", "job.yaml").out
    ws.run()
    assert mark in ws.pipeline("status", "job.yaml").out
    assert mark in ws.pipeline("models").out


def test_a_cap_reckons_with_what_further_keys_of_the_body_can_add_to_the_prompt(
    ws: Workspace, server: Endpoint
) -> None:
    ws.questions("a")
    price = {"input_usd_per_million": 1000, "output_usd_per_million": 1}
    limits = {"max_cost_usd": 1}
    openai_job(ws, {"extra_body": {"tools": ["x" * 2000]}}, pricing=price, limits=limits)
    assert ws.run(code=4)["requests"] == 0
    openai_job(ws, pricing=price, limits=limits)
    assert ws.run()["requests"] == 1
