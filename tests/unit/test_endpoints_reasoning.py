"""What becomes of reasoning that stands in the text of an answer."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from pipeline.config.models import EndpointConfig
from pipeline.config.wire import make_endpoint
from pipeline.records import Reply

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def parse(content: Any, mode: Literal["auto", "split", "keep"], model: str = "m", **message: Any) -> Reply:
    endpoint = make_endpoint(EndpointConfig(kind="openai", url="https://x/v1", model=model, reasoning=mode))
    choice = {"message": {"content": content, **message}, "finish_reason": "stop"}
    found = endpoint.parse(200, {}, json.dumps({"choices": [choice], "usage": USAGE}).encode())
    assert isinstance(found, Reply)
    return found


@pytest.mark.parametrize(
    ("text", "reasoning", "response"),
    [
        ("2 + 2\n</think>\n\n4", "2 + 2", "4"),
        ("<think>2 + 2</think>4", "2 + 2", "4"),
        ("\n<think>\n2 + 2\n</think>\n4\n", "2 + 2", "4\n"),
        ("a </think> b </think> c", "a", "b </think> c"),
    ],
)
def test_the_text_up_to_its_end_is_the_reasoning(text: str, reasoning: str, response: str) -> None:
    found = parse(text, "split")
    assert (found.reasoning, found.response, found.response_type) == (reasoning, response, "text")


@pytest.mark.parametrize("text", ["4", "<think>2 + 2, and cut", '{"a": 1}'])
def test_without_an_end_the_text_is_the_response(text: str) -> None:
    found = parse(text, "split")
    assert (found.reasoning, found.response) == (None, text)


def test_an_empty_reasoning_is_none_and_an_empty_rest_an_empty_answer() -> None:
    assert parse("<think>\n\n</think>\n\n4", "split").reasoning is None
    found = parse("2 + 2</think>", "split")
    assert (found.reasoning, found.response_type) == ("2 + 2", "empty")


@pytest.mark.parametrize("kind", ["openai", "dataoorts"])
@pytest.mark.parametrize(
    ("model", "splits"), [("qwen/qwq-32b", True), ("deepseek-ai/deepseek-r1-distill-qwen-32b", True), ("m", False)]
)
def test_auto_splits_for_the_models_that_the_catalogue_marks_for_any_kind(kind: Any, model: str, splits: bool) -> None:
    endpoint = make_endpoint(EndpointConfig(kind=kind, url="https://x/v1", model=model))
    body = (
        {"result": {"choices": [{"message": {"content": "a</think>b"}}]}}
        if kind == "dataoorts"
        else {"choices": [{"message": {"content": "a</think>b"}}]}
    )
    found = endpoint.parse(200, {}, json.dumps(body).encode())
    assert isinstance(found, Reply)
    assert (found.reasoning, found.response) == (("a", "b") if splits else (None, "a</think>b"))


def test_keep_takes_nothing_out_and_the_reply_s_own_field_still_counts() -> None:
    found = parse("a</think>b", "keep", model="qwen/qwq-32b", reasoning_content="own")
    assert (found.reasoning, found.response) == ("own", "a</think>b")


def test_what_is_told_twice_is_kept_twice() -> None:
    assert parse("a</think>b", "split", reasoning="own").reasoning == "own\n\na"
