"""Request files of OpenAI's Batch API: what is read of a line, and the request that its body makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalogue import max_prompt_tokens
from pipeline.config.models import InputConfig
from pipeline.errors import ErrorKind, InvalidJob
from pipeline.prompts import BodyBuilder, PromptFailure
from pipeline.providers.openai import OpenAI
from pipeline.records import Request, message_texts, request_hash
from pipeline.sources import open_source, written_column
from pipeline.sources.identity import row_values

MESSAGES = [{"role": "user", "content": "hi"}]


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": MESSAGES, **body},
    }


def config(directory: Path, *lines: Any) -> InputConfig:
    path = directory / "requests.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return InputConfig(path=str(path), format="openai-batch")


def built(body: dict[str, Any], **settings: Any) -> Request:
    return BodyBuilder("body", "m", settings.pop("window", None), **settings).request({"body": body})


def test_a_file_has_ids_and_bodies_and_nothing_else(tmp_path: Path) -> None:
    section = config(tmp_path, {**line("a", top_p=0.5, n=1), "metadata": {}}, line("b", stream=False, n=None))
    source = open_source(section, ["m"])
    assert source.schema.names == ["custom_id", "body"]
    (batch,) = source.batches()
    rows = row_values(batch)
    assert [row["custom_id"] for row in rows] == ["a", "b"]
    assert rows[0]["body"] == {"messages": MESSAGES, "top_p": 0.5, "n": 1}
    assert written_column(batch, source.schema.field("custom_id")).to_pylist() == ["a", "b"]
    assert section.id_columns == ("custom_id",)


@pytest.mark.parametrize("folder", [True, False])
def test_a_folder_of_request_files_is_read_in_order(tmp_path: Path, folder: bool) -> None:
    for number in (2, 1):
        text = json.dumps(line(f"id {number}"))
        (tmp_path / f"requests-{number:05}.jsonl").write_text(text, encoding="utf-8")
    path = str(tmp_path) if folder else str(tmp_path / "*.jsonl")
    source = open_source(InputConfig(path=path, format="openai-batch"), ["m"])
    assert [row["custom_id"] for batch in source.batches() for row in row_values(batch)] == ["id 1", "id 2"]


@pytest.mark.parametrize(
    "message",
    [
        "hi",
        {"content": "hi"},
        {"role": 1, "content": "hi"},
        {"role": "user", "content": 1},
        {"role": "user", "content": ["hi"]},
        {"role": "user", "content": [{"type": "text", "text": 1}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "data:"}]},
    ],
)
def test_messages_of_another_form_are_refused_with_the_line(tmp_path: Path, message: Any) -> None:
    with pytest.raises(InvalidJob) as refused:
        open_source(config(tmp_path, line("a"), line("b", messages=[message])), ["m"])
    (mistake,) = refused.value.mistakes
    assert (mistake.line, "messages" in mistake.message) == (2, True)


@pytest.mark.parametrize(("stream", "count"), [(True, 1), (1, 1), (False, 2), (False, "1"), (False, True), (False, 0)])
def test_streams_and_several_answers_are_refused(tmp_path: Path, stream: Any, count: Any) -> None:
    with pytest.raises(InvalidJob):
        open_source(config(tmp_path, line("a", stream=stream, n=count)), ["m"])


def test_a_body_names_the_model_of_every_variant_or_none(tmp_path: Path) -> None:
    open_source(config(tmp_path, line("a"), line("b", model=None)), ["m", "other"])
    with pytest.raises(InvalidJob, match="not other"):
        open_source(config(tmp_path, line("a", model="m")), ["m", "other"])


def test_a_body_is_sent_whole_under_the_names_that_it_has() -> None:
    body = {"messages": MESSAGES, "max_tokens": 5, "seed": 3, "temperature": 1, "stop": None, "user": "u"}
    request = built(body, extra_body={"user": "job", "top_k": 4})
    payload = OpenAI("http://host/v1", "max_completion_tokens").payload(request)
    assert payload == {**body, "model": "m", "top_k": 4, "stream": False}


def test_the_hash_leaves_out_the_model_that_a_body_names() -> None:
    body = {"messages": MESSAGES, "seed": None}
    named = {**body, "model": "m", "stream": False}
    assert request_hash("openai", built(named)) == request_hash("openai", built(body))
    for other in ({**body, "seed": 1}, {**body, "top_p": 1}, {**body, "messages": [*MESSAGES, *MESSAGES]}):
        assert request_hash("openai", built(other)) != request_hash("openai", built(body))


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": None, "max_completion_tokens": -1}, None),
    ],
)
def test_the_longest_answer_is_the_larger_limit_of_a_body(limits: dict[str, Any], most: int | None) -> None:
    body = {"messages": MESSAGES, **limits}
    assert built(body).max_tokens == most
    if most is None:
        with pytest.raises(PromptFailure, match="max_completion_tokens"):
            built(body, needs_max_tokens=True)
    else:
        assert built(body, needs_max_tokens=True).max_tokens == most


def test_a_body_beyond_the_context_window_makes_no_request() -> None:
    with pytest.raises(PromptFailure) as failed:
        built({"messages": [{"role": "user", "content": "word " * 10_000}]}, window=10)
    assert failed.value.kind is ErrorKind.CONTEXT_WINDOW_EXCEEDED


def test_nulls_in_messages_have_no_text() -> None:
    messages = [{"role": "assistant", "content": None, "name": None, "tool_call_id": None}]
    request = built({"messages": messages})
    assert message_texts(request.messages) == [""]
    assert max_prompt_tokens(request.messages) > 0
    assert request.image_bytes == 0
