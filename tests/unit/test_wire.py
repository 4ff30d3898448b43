"""What real servers said, replayed: one file of tests/wire for each server and version."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.models import EndpointConfig
from pipeline.config.wire import make_endpoint
from pipeline.records import Reply
from pipeline.retry import asked_wait

FILES = sorted((Path(__file__).parents[1] / "wire").glob("*.json"))
OPENAI = make_endpoint(EndpointConfig(kind="openai", url="http://127.0.0.1/v1", model="tiny"))


def exchanges() -> list[Any]:
    found = [(file.stem, one) for file in FILES for one in json.loads(file.read_text(encoding="utf-8"))["exchanges"]]
    return [pytest.param(one, id=f"{server}-{one['case']}") for server, one in found]


def test_there_are_recorded_servers() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("exchange", exchanges())
def test_a_recorded_reply_is_understood(exchange: dict[str, Any]) -> None:
    reply, headers, expected = exchange["reply"], exchange["headers"], exchange["expect"]
    body = reply if isinstance(reply, str) else json.dumps(reply)
    result = OPENAI.parse(exchange["status"], headers, body.encode())
    found: dict[str, Any] = {"wait": asked_wait(exchange["status"], headers, datetime.now(UTC))}
    if isinstance(result, Reply):
        found |= {
            "response_type": result.response_type,
            "finish_reason": result.finish_reason,
            "reasoning": result.reasoning,
            "served_model": result.served_model,
            "prompt_tokens": result.usage.prompt_tokens,
            "completion_tokens": result.usage.completion_tokens,
            "reasoning_tokens": result.usage.reasoning_tokens,
        }
    else:
        found |= {"error_kind": result.kind, "message": result.message}
    assert {name: found[name] for name in expected} == expected
