"""The transcribed wire cases, over both kinds of endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.models import EndpointConfig
from pipeline.config.wire import make_endpoint
from pipeline.providers import Endpoint
from pipeline.records import Failure, Reply, Request

WIRE = Path(__file__).parent.parent / "fixtures" / "wire"


def cases(kind: str, name: str) -> list[Any]:
    entries = json.loads((WIRE / name).read_text(encoding="utf-8"))
    return [pytest.param(kind, entry, id=f"{kind}-{entry['name']}") for entry in entries]


def endpoint(kind: Any) -> Endpoint:
    return make_endpoint(EndpointConfig(kind=kind, url="https://example.com/v1", model="m"))


@pytest.mark.parametrize(("kind", "case"), cases("dataoorts", "dataoorts_requests.json"))
def test_a_request_has_the_documented_body(kind: str, case: dict[str, Any]) -> None:
    request = Request(case["model"], tuple(case["messages"]), case["parameters"])
    assert endpoint(kind).payload(request) == case["body"]


@pytest.mark.parametrize(
    ("kind", "case"), [*cases("dataoorts", "dataoorts_replies.json"), *cases("openai", "openai_replies.json")]
)
def test_a_response_is_typed_as_transcribed(kind: str, case: dict[str, Any]) -> None:
    body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"])
    result = endpoint(kind).parse(case["status"], case["headers"], body.encode())
    expected = case["expect"]
    usage = result.usage
    counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    assert counts == (expected["prompt_tokens"], expected["completion_tokens"])
    if isinstance(result, Failure):
        assert (expected["kind"], expected["error"]) == ("error", result.kind)
        return
    assert isinstance(result, Reply) and expected["kind"] == "reply"
    assert (result.response_type, result.finish_reason) == (expected["response_type"], expected.get("finish_reason"))
    assert value(result.tool_calls) == value(expected["tool_calls"])
    if result.response_type == "json":
        assert value(result.response) == value(expected["response"])
    else:
        assert result.response == expected["response"]


def value(text: str | None) -> Any:
    return None if text is None else json.loads(text)
