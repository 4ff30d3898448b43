"""Request files of OpenAI's Batch API as the input: every body goes out as it is, once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import pipeline
from pipeline.errors import InvalidJob
from pipeline.simulator import Settings, Simulator, read_ledger
from tests.functional.conftest import KEY_VARIABLE, Asked, Endpoint, Reply, Workspace

MODEL = "meta/llama-4-scout-17b-16e-instruct"
PRICES = {"input_usd_per_million": 0.15, "output_usd_per_million": 0.60}


def line(custom_id: Any, body: Any = None, **others: Any) -> dict[str, Any]:
    """A line of a request file; `body` is added to the usual one."""
    messages = [{"role": "user", "content": f"question {custom_id}"}]
    usual = {"model": MODEL, "messages": messages, **(body or {})}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": usual, **others}


def write(ws: Workspace, *lines: Any, name: str = "requests.jsonl") -> None:
    (ws.path / name).write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")


def batch_job(ws: Workspace, file: str = "job.yaml", /, **sections: Any) -> None:
    """Write a job that asks what the request file says."""
    made: dict[str, Any] = {
        "name": "bodies",
        "input": {"path": "requests.jsonl", "format": "openai-batch"},
        "endpoint": {"kind": "openai", "url": ws.url.replace("/api/v1", "/v1"), "model": MODEL},
        "retry": {"initial_seconds": 0.05, "max_seconds": 0.2},
        "output": {"path": "bodies.parquet"},
    }
    for name, section in sections.items():
        made[name] = {**made.get(name, {}), **section} if isinstance(section, dict) else section
    (ws.path / file).write_text(json.dumps(made, indent=2), encoding="utf-8")


def chat(text: str) -> Callable[[Asked], Reply]:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    return lambda asked: Reply({"choices": [choice], "usage": usage})


def refusal(ws: Workspace, *arguments: str) -> str:
    """What the command says that refuses the job, before anything is sent."""
    refused = ws.pipeline(*(arguments or ("run", "job.yaml")))
    assert refused.code == 2, refused.err
    return refused.err


def test_bodies_go_out_as_they_are(ws: Workspace, endpoint: Endpoint) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    bodies: list[dict[str, Any]] = [
        {"temperature": 0, "max_completion_tokens": 7, "n": 1, "logprobs": True, "metadata": {"a": [1, None]}},
        {"seed": 5, "max_tokens": 3, "stop": None, "tools": [tool], "response_format": {"type": "text"}},
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://host/a.png"}}]},
            ]
        },
    ]
    lines = [line(f"id {n}", body) for n, body in enumerate(bodies)]
    del lines[1]["body"]["model"]
    write(ws, *lines)
    batch_job(ws, limits={"concurrency": 1})
    endpoint.reply = chat("yes")
    assert ws.run()["succeeded"] == 3
    assert [asked.body for asked in endpoint.asked] == [
        {"stream": False, **one["body"], "model": MODEL} for one in lines
    ]
    table = ws.table("bodies.parquet")
    assert table.column_names[:2] == ["custom_id", "row_id"]
    assert "body" not in table.column_names
    assert table["custom_id"].to_pylist() == table["row_id"].to_pylist() == ["id 0", "id 1", "id 2"]
    endpoint.forget()
    assert ws.run()["requests"] == 0
    assert endpoint.asked == []


@pytest.mark.parametrize("batch", [None, {"poll_seconds": 0.05}])
def test_exported_requests_get_the_answers_of_the_job_that_wrote_them(
    ws: Workspace, batch: dict[str, Any] | None
) -> None:
    ledger = ws.path / "ledger.jsonl"
    simulator = Simulator(Settings(ledger=str(ledger)))
    server = {"kind": "openai", "url": simulator.start() + "/v1", "model": MODEL, "api_key_env": KEY_VARIABLE}
    try:
        ws.given([[f"r{n}", f"question {n}"] for n in range(20)], ["id", "question"])
        parameters = {"max_tokens": 200, "temperature": 0.5, "seed": 3}
        ws.job(endpoint=server, input={"id": "id"}, parameters=parameters)
        assert ws.pipeline("export", "job.yaml", "--to", "openai-batch-requests", "requests").code == 0
        batch_job(
            ws,
            "bodies.yaml",
            input={"path": "requests"},
            endpoint=server if batch is None else {**server, "batch": batch},
            limits={"max_cost_usd": 1},
        )
        done = ws.pipeline("run", "bodies.yaml", "--json").data
        asked = Counter(one.asked["prompt"] for one in read_ledger(ledger))
        assert (done["succeeded"], done["requests"], len(asked), asked.total()) == (20, 20, 20, 20)
        billed = [Decimal(one.answered["cost_usd"]) for one in read_ledger(ledger) if one.answered is not None]
        assert (len(billed), sum(billed)) == (20, Decimal(done["job_cost_usd"]))
    finally:
        simulator.stop()
    again = Simulator(Settings())
    ws.job(endpoint={**server, "url": again.start() + "/v1"}, input={"id": "id"}, parameters=parameters)
    try:
        ws.run()
    finally:
        again.stop()
    wanted = {row["id"]: row["response"] for row in ws.rows()}
    assert {row["custom_id"]: row["response"] for row in ws.rows("bodies.parquet")} == wanted


def test_the_hash_covers_the_body_but_for_its_model(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = chat("yes")
    write(ws, line("a"), line("b", {"top_p": 0.5}))
    batch_job(ws)
    assert ws.run()["requests"] == 2
    first = {row["row_id"]: row["request_hash"] for row in ws.rows("bodies.parquet")}
    without = line("a")
    del without["body"]["model"]
    write(ws, without, line("b", {"top_p": 0.6}))
    assert ws.run("--on-change", "rerun")["requests"] == 1
    second = {row["row_id"]: row["request_hash"] for row in ws.rows("bodies.parquet")}
    assert (second["a"] == first["a"], second["b"] == first["b"]) == (True, False)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"custom_id": "a", "method": "GET", "url": "/v1/chat/completions", "body": {}}, "method"),
        (line("a", url="/v1/embeddings"), "url"),
        (line("a", body={"model": "other/model"}), "model"),
        (line("a", body={"stream": True}), "stream"),
        (line("a", body={"n": 2}), "`n`"),
        (line("a", body={"messages": []}), "messages"),
        (line("a", body={"messages": ["hi"]}), "messages"),
        ({**line("a"), "body": "hi"}, "body"),
        (line(None), "custom_id"),
        (line(""), "custom_id"),
        (line(7), "custom_id"),
        ({name: value for name, value in line("a").items() if name != "custom_id"}, "custom_id"),
    ],
)
def test_a_line_that_cannot_be_sent_as_it_is_is_refused(
    ws: Workspace, endpoint: Endpoint, wrong: dict[str, Any], words: str
) -> None:
    write(ws, line("first"), wrong, line("last"))
    batch_job(ws)
    for said in (refusal(ws), refusal(ws, "validate", "job.yaml")):
        assert words in said
        assert "requests.jsonl:2:" in said
    assert endpoint.asked == []


def test_a_doubled_custom_id_is_refused_with_both_lines(ws: Workspace, endpoint: Endpoint) -> None:
    write(ws, line("a"), line("b"), line("a", {"temperature": 1}))
    batch_job(ws)
    said = refusal(ws)
    assert "'a'" in said
    assert "requests.jsonl, line 1 and requests.jsonl, line 3" in said
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"prompt": {"user": "{{ custom_id }}"}}, "prompt"),
        ({"parameters": {"max_tokens": 5}}, "parameters"),
        ({"parameters": {}}, "parameters"),
        ({"input": {"id": "custom_id"}}, "input.id"),
        ({"endpoint": {"kind": "dataoorts"}}, "input.format"),
        ({"expect": {"regex": "yes", "send": "prompt"}}, "expect.send"),
        ({"sweep": {"parameters.temperature": [0, 1]}}, "parameters"),
    ],
)
def test_what_would_change_the_bodies_is_refused(
    ws: Workspace, endpoint: Endpoint, sections: dict[str, Any], words: str
) -> None:
    write(ws, line("a"))
    batch_job(ws, **sections)
    assert words in refusal(ws)
    assert endpoint.asked == []


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_cap_takes_the_longest_answer_from_each_body(ws: Workspace, endpoint: Endpoint, name: str) -> None:
    endpoint.reply = chat("yes")
    write(ws, line("a", {name: 100}), line("b", {name: 1_000_000}))
    batch_job(ws, pricing=PRICES, limits={"max_cost_usd": 0.1, "concurrency": 1})
    done = ws.run(code=4)
    assert (done["succeeded"], done["pending"]) == (1, 1)
    assert [asked.body[name] for asked in endpoint.asked] == [100]


def test_a_body_without_a_limit_is_not_sent_where_a_cap_needs_one(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = chat("yes")
    write(ws, line("a", {"model": "some/model", "max_tokens": 100}), line("b", {"model": "some/model"}))
    batch_job(ws, endpoint={"model": "some/model"}, pricing=PRICES, limits={"max_cost_usd": 0.1})
    assert ws.run(code=3)["failures"] == {"prompt_error": 1}
    assert len(endpoint.asked) == 1


def test_answers_are_checked_and_nothing_is_added_to_the_body(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = chat("yes")
    write(ws, line("a"))
    batch_job(ws, expect={"choices": ["yes", "no"]})
    assert ws.run()["succeeded"] == 1
    assert ws.rows("bodies.parquet")[0]["parsed"] == "yes"
    assert endpoint.asked[0].body == {**line("a")["body"], "stream": False}


def test_keys_of_the_job_are_added_where_a_body_lacks_them(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = chat("yes")
    write(ws, line("a", {"user": "own"}), line("b"))
    batch_job(ws, endpoint={"extra_body": {"user": "job"}}, limits={"concurrency": 1})
    ws.run()
    assert [asked.body["user"] for asked in endpoint.asked] == ["own", "job"]


def test_rows_can_be_chosen_shown_and_exported(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = chat("yes")
    write(ws, line("a", {"messages": [{"role": "assistant"}, {"role": "user", "content": "hi"}]}), line("b"))
    batch_job(ws, input={"where": "custom_id == 'a'"})
    assert ws.run()["rows"] == 1
    shown = ws.pipeline("show", "job.yaml", "--json")
    assert "hi" in shown.data["rows"][0]["prompt"]
    ws.pipeline("export", "job.yaml", "--to", "messages", "chats.jsonl")
    (chats,) = Path(ws.path / "chats.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(chats)["messages"][-1] == {"role": "assistant", "content": "yes"}


def test_only_files_hold_requests(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job("other.yaml")
    batch_job(ws, input={"path": {"job": "other.yaml"}})
    assert "input.format: the output of a job is no file of requests" in refusal(ws)
    job = json.loads((ws.path / "job.yaml").read_text(encoding="utf-8"))
    del job["input"]["path"]
    frame = pa.table({"custom_id": ["a"], "body": ["{}"]})
    with pytest.raises(InvalidJob, match=r"input\.format.* a frame is no file of requests"):
        pipeline.Job(job, input=frame).run()
    assert endpoint.asked == []
