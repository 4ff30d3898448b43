"""What counts as an answer of an OpenAI-compatible server, and what its usage says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.config.models import EndpointConfig
from pipeline.config.wire import make_endpoint
from pipeline.errors import ErrorKind
from pipeline.providers.finish import broke_off, stopped_at_limit
from pipeline.providers.usage import read_usage
from pipeline.records import Failure, Reply, Usage

OPENAI = make_endpoint(EndpointConfig(kind="openai", url="https://example.com/v1", model="m"))
DATAOORTS = make_endpoint(EndpointConfig(kind="dataoorts", url="https://example.com/v1", model="m"))
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def parse(
    message: dict[str, Any] | None, finish_reason: Any = "stop", usage: Any = USAGE, **choice: Any
) -> Reply | Failure:
    if message is not None:
        choice["message"] = {"role": "assistant", **message}
    body = {"model": "served", "choices": [{"index": 0, "finish_reason": finish_reason, **choice}], "usage": usage}
    return OPENAI.parse(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def answer(*arguments: Any, **named: Any) -> Reply:
    result = parse(*arguments, **named)
    assert isinstance(result, Reply), result
    return result


def failure(*arguments: Any, **named: Any) -> Failure:
    result = parse(*arguments, **named)
    assert isinstance(result, Failure), result
    return result


@pytest.mark.parametrize(
    ("message", "finish_reason"), [({}, "length"), ({}, "content_filter"), ({}, "stop"), (None, "SAFETY")]
)
def test_a_billed_choice_without_content_is_an_empty_answer(message: Any, finish_reason: str) -> None:
    found = answer(message, finish_reason)
    assert (found.response, found.response_type, found.finish_reason) == (None, "empty", finish_reason)


@pytest.mark.parametrize("finish_reason", ["length", "MAX_TOKENS", "content_filter", "SAFETY"])
def test_without_usage_a_finish_reason_explains_why_there_is_no_content(finish_reason: str) -> None:
    assert answer({}, finish_reason, usage=None).response_type == "empty"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_beside_the_answer_and_without_one(field: str) -> None:
    found = answer({"content": None, field: "Let me think"}, "length", usage=None)
    assert (found.response_type, found.reasoning) == ("empty", "Let me think")
    assert answer({"content": "4", field: "2 + 2"}).reasoning == "2 + 2"
    assert answer({"content": "4", field: ""}).reasoning is None


def test_a_refusals_words_are_the_response() -> None:
    found = answer({"content": None, "refusal": "I will not"})
    assert (found.response, found.response_type) == ("I will not", "refusal")
    assert answer({"content": "yes", "refusal": ""}).response_type == "text"


def test_parts_of_text_are_joined_and_thinking_parts_are_the_reasoning() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    found = answer({"content": [thinking, {"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}]})
    assert (found.response, found.response_type, found.reasoning) == ("fine", "text", "hm")
    assert answer({"content": [{"type": "refusal", "refusal": "no"}]}).response_type == "refusal"
    assert answer({"content": [1, 2]}).response == "[1,2]"


def test_a_choice_of_the_older_completions_form_has_its_text() -> None:
    assert answer(None, text="fine").response == "fine"


def test_the_model_that_served_is_the_one_that_the_reply_names() -> None:
    assert answer({"content": "a"}).served_model == "served"


def test_an_answer_of_choices_inside_a_result_is_read() -> None:
    choice = {"message": {"content": "fine", "reasoning_content": "hm"}, "finish_reason": "stop"}
    body = {"success": True, "errors": [], "result": {"model": "x", "choices": [choice], "usage": USAGE}}
    found = DATAOORTS.parse(200, {}, json.dumps(body).encode())
    assert isinstance(found, Reply)
    assert (found.response, found.reasoning, found.served_model) == ("fine", "hm", "x")


@pytest.mark.parametrize(
    "finish_reason", ["error", "ERROR", "abort", "cancelled", "insufficient_system_resource", "network_error"]
)
def test_an_answer_that_broke_off_is_a_billed_failure(finish_reason: str) -> None:
    found = failure({"content": "The capital is"}, finish_reason)
    assert found.usage is not None and found.usage.completion_tokens == 5
    assert found.message == f"HTTP 200: the answer broke off: finish_reason {finish_reason}"
    assert found.kind is ErrorKind.INVALID_REPLY


def test_an_error_inside_the_choice_is_a_billed_failure_in_the_servers_words() -> None:
    found = failure({"content": ""}, None, error={"code": 502, "message": "Upstream ended"})
    assert found.message == "HTTP 200: 502: Upstream ended"
    assert found.usage is not None and not found.possibly_billed


@pytest.mark.parametrize("error", [None, "", {}, {"code": 0, "message": ""}])
def test_an_error_that_says_nothing_takes_no_answer_away(error: Any) -> None:
    assert answer({"content": "fine"}, error=error).response == "fine"
    body = {"error": error, "choices": [{"message": {"content": "fine"}}]}
    assert isinstance(OPENAI.parse(200, {}, json.dumps(body).encode()), Reply)


def test_raw_control_characters_are_read_as_they_stand() -> None:
    body = b'{"choices": [{"message": {"content": "a\n\tb\x01"}}]}'
    found = OPENAI.parse(200, {}, body)
    assert isinstance(found, Reply) and found.response == "a\n\tb\x01"


@pytest.mark.parametrize("value", ["[]", "{}", '""', "1", '{"a":1}'])
def test_a_reply_of_too_many_values_is_too_large(value: str) -> None:
    values = ",".join([value] * 1_000_100)
    found = OPENAI.parse(200, {}, f'{{"choices":[{{"message":{{"content":[{values}]}}}}]}}'.encode())
    assert isinstance(found, Failure)
    assert (found.kind, found.possibly_billed) == (ErrorKind.REPLY_TOO_LARGE, True)
    assert found.message == "HTTP 200: the reply holds more than 1,000,000 values"


def test_marks_inside_a_text_are_no_values() -> None:
    text = 'a "quoted", \\ [list], ' * 400_000
    assert answer({"content": text}).response == text


def test_a_refusal_with_a_body_that_is_not_read_means_what_its_status_says() -> None:
    found = OPENAI.parse(401, {}, b"[" * 2_000 + b"]" * 2_000)
    assert isinstance(found, Failure) and found.kind is ErrorKind.BAD_CREDENTIALS


@pytest.mark.parametrize(
    "reason",
    [
        "length",
        "LENGTH",
        "max_tokens",
        "MAX_TOKENS",
        "maxTokens",
        "model_length",
        "max_output_tokens",
        "max_length",
        "token_limit",
        "FINISH_REASON_MAX_TOKENS",
        "model_context_window_exceeded",
    ],
)
def test_a_finish_reason_that_speaks_of_the_limit(reason: str) -> None:
    assert stopped_at_limit(reason) and not broke_off(reason)


@pytest.mark.parametrize("reason", [None, "", "stop", "STOP", "end_turn", "tool_calls", "content_filter", "eos"])
def test_a_finish_reason_of_a_whole_answer(reason: str | None) -> None:
    assert not stopped_at_limit(reason) and not broke_off(reason)


def usage(answered: bool = True, reasoned: bool = False, **counts: Any) -> Usage:
    return read_usage({**USAGE, **counts}, answered=answered, reasoned=reasoned)


def test_whole_counts_written_as_floats_are_sound() -> None:
    found = usage(prompt_tokens=10.0, completion_tokens=5.0, total_tokens=1.5e1)
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (10, 5, 15)
    assert all(type(count) is int for count in (found.prompt_tokens, found.completion_tokens))


@pytest.mark.parametrize("count", [1.5, -1, -1.0, True, "5", 2**63, 1e19, float("inf"), None, [5]])
def test_other_counts_are_not(count: Any) -> None:
    assert usage(completion_tokens=count).completion_tokens is None


def test_cached_and_reasoning_tokens_are_read_in_each_spelling() -> None:
    found = usage(prompt_tokens_details={"cached_tokens": 4.0}, completion_tokens_details={"reasoning_tokens": 0})
    assert (found.cached_tokens, found.reasoning_tokens) == (4, 0)
    found = usage(prompt_cache_hit_tokens=4, reasoning_tokens=3, prompt_tokens_details=None)
    assert (found.cached_tokens, found.reasoning_tokens) == (4, 3)
    assert (usage().cached_tokens, usage().reasoning_tokens) == (None, None)


def test_a_detail_that_is_larger_than_its_total_is_not_sound() -> None:
    found = usage(prompt_cache_hit_tokens=11, reasoning_tokens=6)
    assert (found.cached_tokens, found.reasoning_tokens, found.output_tokens) == (None, None, 5)


def test_reasoning_beside_the_completion_is_output_too() -> None:
    found = usage(total_tokens=115, completion_tokens_details={"reasoning_tokens": 100})
    assert (found.completion_tokens, found.reasoning_tokens, found.output_tokens) == (5, 100, 105)
    assert usage(total_tokens=115).output_tokens == 105
    assert usage(total_tokens=14).output_tokens == usage(total_tokens=None).output_tokens == 5


def test_no_reasoning_tokens_beside_a_reasoning_are_not_sound() -> None:
    assert usage(reasoned=True, completion_tokens_details={"reasoning_tokens": 0}).reasoning_tokens is None
    assert usage(answered=False, reasoned=True, completion_tokens=0, total_tokens=10).completion_tokens is None


def test_a_completion_of_nothing_but_reasoning_beside_it_is_sound() -> None:
    found = usage(answered=False, reasoned=True, completion_tokens=0, total_tokens=110, reasoning_tokens=100)
    assert (found.completion_tokens, found.output_tokens) == (0, 100)
