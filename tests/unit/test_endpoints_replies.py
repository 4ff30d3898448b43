"""What the wire cases cannot say: bytes, sizes, addresses, messages, and what counts as possibly billed."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from pipeline.config.models import EndpointConfig
from pipeline.config.wire import make_endpoint
from pipeline.errors import ErrorKind
from pipeline.providers import Endpoint
from pipeline.records import Failure, Reply, Request

JSON = {"Content-Type": "application/json"}


def make(kind: Literal["dataoorts", "openai"], url: str = "https://example.com/v1") -> Endpoint:
    return make_endpoint(EndpointConfig(kind=kind, url=url, model="m"))


DATAOORTS = make("dataoorts")


def failure(status: int, body: bytes | dict[str, Any], headers: dict[str, str] = JSON) -> Failure:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = DATAOORTS.parse(status, headers, content)
    assert isinstance(result, Failure)
    return result


def reply(body: bytes, headers: dict[str, str] = JSON) -> Reply:
    result = DATAOORTS.parse(200, headers, body)
    assert isinstance(result, Reply)
    return result


def envelope(result: str) -> bytes:
    return ('{"success": true, "errors": [], "result": ' + result + "}").encode()


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("https://example.com/v1", "https://example.com/v1/chat/completions"),
        ("https://example.com/v1/", "https://example.com/v1/chat/completions"),
        ("https://example.com/v1/chat/completions", "https://example.com/v1/chat/completions"),
        ("https://example.com/v1/chat/completions/?version=2", "https://example.com/v1/chat/completions?version=2"),
        ("https://example.com/v1?version=2", "https://example.com/v1/chat/completions?version=2"),
    ],
)
def test_an_openai_url_is_the_base_or_the_whole_address(url: str, whole: str) -> None:
    assert make("openai", url).url == whole


def test_the_dataoorts_url_is_taken_as_it_is() -> None:
    assert make("dataoorts", "https://example.com/api/v1").url == "https://example.com/api/v1"


@pytest.mark.parametrize(
    ("kind", "path"), [("dataoorts", "/api/v1"), ("openai", "/v1/chat/completions")]
)  # the paths the embedded endpoint serves
def test_an_address_takes_the_place_of_the_url(kind: Literal["dataoorts", "openai"], path: str) -> None:
    config = EndpointConfig(kind=kind, url="simulator", model="m")
    assert make_endpoint(config, "http://127.0.0.1:4711/").url == "http://127.0.0.1:4711" + path


def test_an_openai_request_has_its_parameters_beside_the_messages() -> None:
    request = Request("m", ({"role": "user", "content": "hi"},), {"max_tokens": 5, "temperature": 0.5})
    assert make("openai").payload(request) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "temperature": 0.5,
        "stream": False,
    }


def test_json_is_read_as_utf8_whatever_charset_is_named() -> None:
    body = envelope('{"response": "é"}')
    assert reply(body, {"Content-Type": "application/json; charset=latin-1"}).response == "é"
    assert reply(b"\xef\xbb\xbf" + body).response == "é"


def test_latin1_is_read_where_it_is_named_and_utf8_fails() -> None:
    body = '{"result": {"response": "é"}}'.encode("latin-1")
    assert reply(body, {"content-type": "application/json; charset=ISO-8859-1"}).response == "é"
    assert reply(body, {"content-type": "application/json; charset=utf-16"}).response == "\ufffd"
    assert reply(body).response == "\ufffd"


def test_lone_surrogates_become_replacement_characters_everywhere() -> None:
    result = reply(envelope(r'{"response": {"a\ud800": "\udfff"}, "tool_calls": [{"name": "\ud800"}]}'))
    assert result.response == '{"a\ufffd":"\ufffd"}'
    assert result.tool_calls == '[{"name":"\ufffd"}]'


@pytest.mark.parametrize("body", ["[" * 1_001 + "]" * 1_001, '{"a":' * 1_001 + "1" + "}" * 1_001, "[" * 200_000])
def test_a_body_nested_too_deeply_is_too_large(body: str) -> None:
    result = failure(200, body.encode())
    assert result.kind is ErrorKind.REPLY_TOO_LARGE
    assert result.possibly_billed


def test_a_body_nested_deeply_within_bounds_is_an_answer() -> None:
    assert reply(envelope('{"response": ' + "[" * 500 + "]" * 500 + "}")).response == "[" * 500 + "]" * 500


def test_a_wide_body_is_not_a_deep_one() -> None:
    assert reply(envelope('{"response": ' + json.dumps([[1]] * 5_000) + "}")).response_type == "json"


def test_numbers_that_json_does_not_have_become_null_and_those_beyond_python_do_no_harm() -> None:
    numbers = '[NaN, Infinity, -Infinity, 1e999, {"a": NaN}]'
    result = reply(envelope('{"response": ' + numbers + ', "usage": {"prompt_tokens": ' + "9" * 6_000 + "}}"))
    assert result.response == '[null,null,null,null,{"a":null}]'
    assert result.usage.prompt_tokens is None


def test_the_usage_is_kept_as_it_came() -> None:
    result = reply(envelope('{"response": "a", "usage": {"prompt_tokens": 3, "completion_tokens": 0, "x": null}}'))
    assert result.usage.raw == '{"prompt_tokens":3,"completion_tokens":0,"x":null}'
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (3, None)


def test_no_completion_tokens_are_sound_beside_an_empty_answer_only() -> None:
    usage = '"usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}'
    assert reply(envelope('{"response": "", ' + usage + "}")).usage.completion_tokens == 0
    calls = '{"response": null, "tool_calls": [{"name": "f"}], ' + usage + "}"
    assert reply(envelope(calls)).usage.completion_tokens is None


@pytest.mark.parametrize(("status", "expected"), [(200, True), (408, True), (504, True), (524, True), (400, False)])
def test_a_failure_is_possibly_billed_where_the_work_may_have_been_done(status: int, expected: bool) -> None:
    assert failure(status, b"").possibly_billed is expected


def test_a_failure_with_sound_usage_is_billed_and_not_only_possibly() -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 7}
    result = failure(200, {"success": False, "result": {"usage": usage}})
    assert result.usage is not None and result.usage.completion_tokens == 7
    assert not result.possibly_billed


def test_usage_in_an_error_reply_is_no_bill() -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 7}
    assert failure(500, {"success": False, "result": {"usage": usage}}).usage is None


def test_a_message_is_the_endpoints_own_words_cut_and_without_control_characters() -> None:
    words = "\x1b[31mno\u202e such model\n" + "x" * 10_000
    result = failure(400, {"errors": [{"code": 5007, "message": words}], "success": False})
    assert result.kind is ErrorKind.MODEL_NOT_FOUND
    assert result.message.startswith("HTTP 400: 5007: \\x1b[31mno\\u202e such model\\nxxx")
    assert len(result.message) == 300 and result.message.isprintable()


@pytest.mark.parametrize("body", [b"<html><b>Your prompt was: secret</b></html>", b'{"echo": "secret"}'])
def test_what_is_no_error_message_is_not_quoted(body: bytes) -> None:
    assert "secret" not in failure(500, body).message


@pytest.mark.parametrize("body", [b"secret", b'"secret"', b"data: secret"])
def test_what_may_be_an_answer_is_not_quoted(body: bytes) -> None:
    assert "secret" not in failure(200, body).message


@pytest.mark.parametrize("code", [3006, 5006, 3040])
def test_a_number_in_the_words_is_no_code_by_itself(code: int) -> None:
    body = {"errors": [{"message": f"the prompt has {code} tokens too many"}]}
    assert failure(503, body).kind is ErrorKind.GATEWAY_ERROR


def test_a_daily_limit_without_a_code_stops_the_run() -> None:
    body = {"errors": [{"message": "you have used up your daily free allocation of 10,000 neurons"}]}
    assert failure(429, body).kind is ErrorKind.DAILY_QUOTA
