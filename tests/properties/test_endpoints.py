from __future__ import annotations

import json
import math
from typing import Any, Literal
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.models import EndpointConfig
from pipeline.config.wire import make_endpoint
from pipeline.providers import documents
from pipeline.records import Failure, Reply, Usage

KINDS = ("dataoorts", "openai")
FIELDS = (
    "result response usage success errors error code message tool_calls choices content finish_reason "
    "prompt_tokens completion_tokens total_tokens object"
)
NAMES = st.sampled_from(FIELDS.split())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=15
)
STATUSES = st.sampled_from([100, 200, 204, 302, 400, 403, 404, 413, 429, 500, 524, 600, 999]) | st.integers()
HEADERS = st.dictionaries(st.sampled_from(["Content-Type", "content-type", "X"]), st.text(max_size=20))


def check(kind: Any, status: int, headers: dict[str, str], body: bytes) -> Reply | Failure:
    result = make_endpoint(EndpointConfig(kind=kind, model="m")).parse(status, headers, body)
    if isinstance(result, Failure):
        assert len(result.message) <= 300 and result.message.isprintable()
        assert result.usage is None or result.usage.is_priceable
        assert not (result.usage and result.possibly_billed)
    else:
        assert 200 <= status < 300
        assert (result.response_type == "empty") == (not result.response)
        texts = (result.response, result.tool_calls, result.usage.raw, result.finish_reason)
        assert all(text.encode("utf-8") is not None for text in texts if text is not None)
    return result


@pytest.mark.parametrize("kind", KINDS)
@given(status=STATUSES, headers=HEADERS, body=st.binary())
def test_any_bytes_become_a_typed_value(
    kind: Literal["dataoorts", "openai"], status: int, headers: dict[str, str], body: bytes
) -> None:
    check(kind, status, headers, body)


@pytest.mark.parametrize("kind", KINDS)
@given(status=STATUSES, headers=HEADERS, value=VALUES)
def test_any_json_becomes_a_typed_value(
    kind: Literal["dataoorts", "openai"], status: int, headers: dict[str, str], value: Any
) -> None:
    check(kind, status, headers, json.dumps(value).encode())


@given(response=VALUES, tool_calls=VALUES, usage=VALUES)
def test_any_response_beside_success_is_kept(response: Any, tool_calls: Any, usage: Any) -> None:
    result = {"response": response, "tool_calls": tool_calls, "usage": usage}
    reply = check("dataoorts", 200, {}, json.dumps({"success": True, "result": result}).encode())
    assert isinstance(reply, Reply)
    response = finite(response)
    if isinstance(response, str):
        assert reply.response_type in {"text", "empty"}
        assert canonical(reply.response) == canonical(response)
    elif response is not None:
        assert canonical(json.loads(str(reply.response))) == canonical(response)


@given(prompt=SCALARS, completion=SCALARS, total=SCALARS)
def test_a_count_is_positive_or_null(prompt: Any, completion: Any, total: Any) -> None:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    body = json.dumps({"result": {"response": "a", "usage": counts}}).encode()
    reply = check("dataoorts", 200, {}, body)
    assert isinstance(reply, Reply) and isinstance(reply.usage, Usage)
    for count in (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens):
        assert count is None or 0 < count < 2**63


def finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [finite(one) for one in value]
    return {key: finite(one) for key, one in value.items()} if isinstance(value, dict) else value


def canonical(value: Any) -> str:
    """Equal values as equal text; NaN equals itself, and a lone surrogate its replacement."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _Refusing:
    """A decoder that reads nothing."""

    def decode(self, text: str) -> Any:
        raise ValueError(text)


SIGNS = st.text(st.sampled_from('{}[]:,"\\/u d83\nde00\t\x000123456789.-+eEtruefalsn'), max_size=30)
AWKWARD = (
    '{"a": 1, "b": 2, "a": 3}',
    "1" * 4300,
    "1" * 4301,
    "-" + "9" * 25,
    "[1e999, -1e999, 1.7976931348623159e308, 1e-400, -0, -0.0, 1E5]",
    "[NaN, Infinity, -Infinity]",
    '"\\ud800 \\ud83d\\ude00 \\ude00"',
    '{"\\ud800": 1}',
    '"a\tb\x00c"',
    "[" * 300 + "]" * 300,
    "[1,]",
    "01",
    "1 2",
    "\ufeff1",
    "",
)


@given(SIGNS | VALUES.map(json.dumps))
def test_json_is_read_as_pythons_own_parser_reads_it(text: str) -> None:
    read_alike(text)


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_awkward_json_is_read_as_pythons_own_parser_reads_it(text: str) -> None:
    read_alike(text)


def read_alike(text: str) -> None:
    with patch.object(documents, "_STRICT_DECODER", _Refusing()):
        wanted = documents.read_document(text)
    assert repr(documents.read_document(text)) == repr(wanted)
