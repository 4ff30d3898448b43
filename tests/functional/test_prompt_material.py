"""Few-shot examples, tools, and conversations in the forms that people's files hold."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import Endpoint, Workspace

SHOTS = [{"q": "2 + 2", "a": "4"}, {"q": "{{ 3 }} + 3", "a": "6"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def shots(ws: Workspace, name: str) -> None:
    table = pa.table({"q": [one["q"] for one in SHOTS], "a": [one["a"] for one in SHOTS]})
    if name.endswith(".parquet"):
        pq.write_table(table, ws.path / name)
    elif name.endswith(".jsonl"):
        (ws.path / name).write_text("".join(json.dumps(one) + "\n" for one in SHOTS), encoding="utf-8")
    else:
        lines = ["q,a", *(f"{one['q']},{one['a']}" for one in SHOTS)]
        (ws.path / name).write_text("\n".join(lines), encoding="utf-8")


def asked(endpoint: Endpoint) -> list[list[dict[str, Any]]]:
    return [one.body["data"]["messages"] for one in endpoint.asked]


@pytest.mark.parametrize("name", ["shots.csv", "shots.jsonl", "shots.parquet", None])
def test_examples_stand_between_the_system_text_and_the_question(
    name: str | None, ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("5 + 5")
    inline = [{"user": one["q"], "assistant": one["a"]} for one in SHOTS]
    if name:
        shots(ws, name)
    given = {"path": name, "user": "q", "assistant": "a"} if name else inline
    ws.job(prompt={"system": "Add.", "user": "{{ question }}", "examples": given})
    ws.run()
    assert asked(endpoint) == [
        [
            {"role": "system", "content": "Add."},
            {"role": "user", "content": "2 + 2"},
            {"role": "assistant", "content": "4"},
            {"role": "user", "content": "{{ 3 }} + 3"},
            {"role": "assistant", "content": "6"},
            {"role": "user", "content": "5 + 5"},
        ]
    ]


def test_examples_are_part_of_what_is_asked_wherever_they_are_written(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("5 + 5")
    shots(ws, "shots.csv")
    prompt = {"user": "{{ question }}", "examples": {"path": "shots.csv", "user": "q", "assistant": "a"}}
    ws.job(prompt=prompt)
    ws.run()
    (before,) = ws.rows()
    ws.job(prompt={**prompt, "examples": [{"user": one["q"], "assistant": one["a"]} for one in SHOTS]})
    assert ws.run()["requests"] == 0, "the same texts are the same request"
    shots(ws, "shots.csv")
    with (ws.path / "shots.csv").open("a", encoding="utf-8") as file:
        file.write("\n1 + 1,2\n")
    ws.job(prompt=prompt)
    refused = ws.run(code=2)
    assert "prompt.examples" in refused["error"]["message"]
    ws.run("--on-change", "rerun")
    assert len(asked(endpoint)[-1]) == 7
    assert ws.rows()[0]["request_hash"] != before["request_hash"]


def test_numbers_in_examples_are_written_as_they_are(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("5 + 5")
    (ws.path / "shots.jsonl").write_text('{"user": "1 + 1", "assistant": 2}\n', encoding="utf-8")
    ws.job(prompt={"user": "{{ question }}", "examples": {"path": "shots.jsonl"}})
    ws.run()
    assert asked(endpoint)[0][1] == {"role": "assistant", "content": "2"}


def test_examples_can_be_swept(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("5 + 5")
    shots(ws, "shots.csv")
    sweep = {"none": [{"user": "1", "assistant": "1"}], "two": {"path": "shots.csv", "user": "q", "assistant": "a"}}
    ws.job(sweep={"prompt.examples": sweep})
    ws.run()
    assert sorted(len(messages) for messages in asked(endpoint)) == [3, 5]
    assert [row["variant"] for row in ws.rows()] == ["none", "two"]


def test_tools_are_sent_as_they_are_and_are_part_of_what_is_asked(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("Is it raining?")
    (ws.path / "tools.json").write_text(json.dumps([WEATHER]), encoding="utf-8")
    ws.job(prompt={"user": "{{ question }}", "tools": "tools.json"})
    ws.run()
    assert endpoint.asked[0].body["data"]["tools"] == [WEATHER]
    (before,) = ws.rows()
    ws.job(prompt={"user": "{{ question }}", "tools": [WEATHER]})
    assert ws.run()["requests"] == 0
    (ws.path / "tools.json").write_text(json.dumps([WEATHER, WEATHER]), encoding="utf-8")
    ws.job(prompt={"user": "{{ question }}", "tools": "tools.json"})
    assert "prompt.tools" in ws.run(code=2)["error"]["message"]
    ws.job(name="plain", output={"path": "plain.parquet"})
    ws.run()
    assert ws.rows("plain.parquet")[0]["request_hash"] != before["request_hash"]


def test_a_column_that_examples_lack_is_told_with_their_file(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    shots(ws, "shots.csv")
    ws.job(prompt={"user": "{{ question }}", "examples": {"path": "shots.csv", "user": "query", "assistant": "a"}})
    assert "the file shots.csv has no column 'query'" in ws.run(code=2)["error"]["message"]


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ({"examples": {"path": "gone.csv"}}, "prompt.examples"),
        ({"examples": {"path": "shots.csv", "user": "question", "assistant": "a"}}, "prompt.examples"),
        ({"examples": {"path": "empty.jsonl", "user": "q", "assistant": "a"}}, "prompt.examples"),
        ({"examples": {"path": "null.jsonl", "user": "q", "assistant": "a"}}, "prompt.examples"),
        ({"examples": []}, "prompt.examples"),
        ({"examples": [{"user": "a"}]}, "prompt.examples[0].assistant"),
        ({"tools": "gone.json"}, "prompt.tools"),
        ({"tools": "object.json"}, "prompt.tools"),
        ({"tools": "empty.jsonl"}, "prompt.tools"),
        ({"tools": "endless.json"}, "prompt.tools"),
        ({"tools": []}, "prompt.tools"),
        ({"tools": ["weather"]}, "prompt.tools[0]"),
    ],
)
def test_material_that_cannot_be_used_is_refused_before_anything_is_sent(
    prompt: dict[str, Any], key: str, ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a")
    shots(ws, "shots.csv")
    (ws.path / "empty.jsonl").write_text("", encoding="utf-8")
    (ws.path / "null.jsonl").write_text('{"q": "a", "a": "b"}\n{"q": "a", "a": null}\n', encoding="utf-8")
    (ws.path / "object.json").write_text("{}", encoding="utf-8")
    (ws.path / "endless.json").write_text(f'[{{"type": "{"x" * 2**24}"}}]', encoding="utf-8")
    ws.job(prompt={"user": "{{ question }}", **prompt})
    found = ws.command("validate", code=2)
    assert key in [error["key"] for error in found["errors"]], found
    ws.run(code=2)
    assert not endpoint.asked


def test_examples_beside_whole_conversations_and_tools_twice_are_refused(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(prompt={"messages": "question", "examples": [{"user": "a", "assistant": "b"}]})
    assert "examples" in ws.pipeline("validate", "job.yaml").err
    ws.job(prompt={"user": "{{ question }}", "tools": [WEATHER]}, endpoint={"extra_body": {"tools": [WEATHER]}})
    assert "endpoint.extra_body.tools" in ws.pipeline("validate", "job.yaml").err


CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Weather in Bonn?", "name": "ada"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "content": "rain", "tool_call_id": "call_1", "name": "weather"},
    {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
]


def test_a_conversation_with_tools_goes_out_without_the_nulls_that_arrow_adds(
    ws: Workspace, endpoint: Endpoint
) -> None:
    messages: list[dict[str, Any]] = [*CONVERSATION[:4], {"role": "user", "content": "And now?"}]
    table = pa.table({"chat": pa.array([messages, messages[:2]])})
    assert "null" in json.dumps(table.to_pylist())
    pq.write_table(table, ws.path / "in.parquet")
    ws.job(prompt={"messages": "chat"})
    ws.run()
    whole, short = sorted(asked(endpoint), key=len, reverse=True)
    assert whole == messages
    assert short == CONVERSATION[:2]


def test_the_same_conversation_as_json_text_is_the_same_request(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([[json.dumps(CONVERSATION)]], ["chat"])
    ws.job(prompt={"messages": "chat"})
    ws.run()
    assert asked(endpoint) == [CONVERSATION]
    assert "weather" in ws.pipeline("show", "job.yaml").out


def test_the_simulator_takes_such_conversations(ws: Workspace) -> None:
    ws.given([[json.dumps(CONVERSATION)]], ["chat"])
    ws.job(prompt={"messages": "chat", "tools": [WEATHER]}, endpoint={"url": "simulator"})
    assert ws.run()["succeeded"] == 1
