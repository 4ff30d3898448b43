"""A stream of events is put together the same wherever it is cut, and no bytes make it fail."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.providers.events import EventReader
from pipeline.providers.openai import OpenAI
from pipeline.providers.stream import Assembly
from pipeline.records import Failure, Reply

ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
CUTS = st.lists(st.integers(0, 400), max_size=30)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(places)]


def events(parts: list[bytes]) -> list[tuple[str, bytes]]:
    reader = EventReader()
    found = [event for part in parts for event in reader.feed(part)]
    return [*found, *reader.end()]


@given(
    st.lists(st.tuples(st.sampled_from(["", "error", "message"]), st.lists(TEXT, min_size=1, max_size=3))), ENDS, CUTS
)
def test_events_are_the_same_wherever_the_bytes_are_cut(
    written: list[tuple[str, list[str]]], end: bytes, cuts: list[int]
) -> None:
    body, wanted = b": a comment" + end, []
    for name, texts in written:
        lines = [text.replace("\r", "").replace("\n", "") for text in texts]
        body += (b"event: " + name.encode() + end if name else b"") + b"id: 1" + end
        body += b"".join(b"data: " + line.encode() + end for line in lines) + end
        wanted.append((name, "\n".join(lines).encode()))
    assert events(pieces(body, cuts)) == events([body]) == wanted


@given(st.binary(max_size=300), CUTS)
def test_any_bytes_give_the_same_events_in_any_pieces(body: bytes, cuts: list[int]) -> None:
    assert events(pieces(body, cuts)) == events([body])


NAMES = st.sampled_from(
    [
        "choices",
        "delta",
        "index",
        "content",
        "tool_calls",
        "function",
        "arguments",
        "error",
        "usage",
        "finish_reason",
        "model",
        "x_groq",
        "message",
        "text",
        "id",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=6), CUTS)
def test_chunks_of_any_shape_make_a_body_that_can_be_parsed(chunks: list[Any], cuts: list[int]) -> None:
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    whole, cut = Assembly(), Assembly()
    whole.feed(body)
    for piece in pieces(body, cuts):
        cut.feed(piece)
    for assembly in (whole, cut):
        assembly.end()
    assert whole.body() == cut.body()
    assert isinstance(OpenAI("http://x").parse(200, {}, whole.body()), Reply | Failure)


@given(st.lists(TEXT, max_size=8), st.lists(TEXT, max_size=4), CUTS)
def test_an_answer_is_the_deltas_in_their_order(content: list[str], reasoning: list[str], cuts: list[int]) -> None:
    deltas = [{"reasoning_content": text} for text in reasoning] + [{"content": text} for text in content]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    chunks += [{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}}]
    body = b"".join(b"data: " + json.dumps(one, ensure_ascii=False).encode() + b"\n\n" for one in chunks)
    assembly = Assembly()
    for piece in pieces(body + b"data: [DONE]\n\n", cuts):
        assembly.feed(piece)
    assembly.end()
    reply = OpenAI("http://x").parse(200, {}, assembly.body())
    assert isinstance(reply, Reply) and assembly.has_ended
    assert (reply.response or "", reply.reasoning or "") == ("".join(content), "".join(reasoning))
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens, reply.finish_reason) == (5, 14, "stop")
