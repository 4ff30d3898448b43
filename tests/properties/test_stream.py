"""A stream of events is put together the same wherever it is cut, and no bytes make it fail."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.providers import stream
from pipeline.providers.alike import Alike
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


# Parts of a text within a JSON string, some of which are sound only beside others, or never.
WITHIN = [
    b"a",
    b" ",
    b"data: ",
    b"\\n",
    b'\\"',
    b"\\\\",
    b"\\u00e9",
    b"\\ud83d",
    b"\\ude00",
    "é😀\u2028".encode(),
    b"\x7f",
]
UNSOUND = [b"\\", b'"', b"\n", b"\r", b"\x01", b"\\u00", b"e9", b"\xf0\x9f", b"\x98\x80", b'","content":"', b"\n\n"]
SOUND = st.lists(st.sampled_from(WITHIN), max_size=3).map(b"".join)
TEXTS = st.integers(0, 20).flatmap(
    lambda n: SOUND if n else st.sampled_from([a + b for a in UNSOUND for b in (b"", b"a")])
)
CHUNK = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{%s},"finish_reason":null}],"usage":null}\n\n'
DELTAS = [
    CHUNK % b'"content":"%s"',
    CHUNK % b'"role":"assistant","content": "%s","tool_calls":[]',
    CHUNK % b'"reasoning_content":"%s","content":null',
    CHUNK % b'"content":"%s","reasoning":"too"',
    CHUNK % b'"content":"first","content":"%s"',
    CHUNK % b'"content":"%s","content":"last"',
    CHUNK % b'"content":"%s","tool_calls":[{"index":0,"function":{"name":"f","arguments":"a"}}]',
    CHUNK.replace(b'"m"', b'"another"') % b'"content":"%s"',
    CHUNK.replace(b"}],", b'},{"index":0,"delta":{"content":"second"}}],') % b'"content":"%s"',
    CHUNK.replace(b'"usage":null', b'"usage":{"prompt_tokens":1}') % b'"content":"%s"',
    CHUNK.replace(b"null}]", b'"stop"}]') % b'"content":"%s"',
    CHUNK.replace(b"}\n\n", b',"content":"beside"}\n\n') % b'"content":"%s"',
]
BETWEEN = [
    b"data: [DONE]\n\n",
    b": ping\n\n",
    b"event: error\n",
    b"\r\n",
    b"\n",
    b"data: ",
    b"data: x\n",
    b"data: {}\n\n",
    b'data: {"error":{"message":"no"}}\n\n',
    b'data: {"model":"other","choices":[]}\n\n',
]


CUT: st.SearchStrategy[list[int]] = st.one_of(st.just([]), st.lists(st.integers(0, 400), min_size=1, max_size=2))


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Make a stream of events of which most are like the one before, in pieces that may end anywhere."""
    written = []
    for shape in draw(st.lists(st.sampled_from([DELTAS[0], *DELTAS]), min_size=1, max_size=4)):
        written += [shape % text for text in draw(st.lists(TEXTS, min_size=4, max_size=6))]
        written += draw(st.lists(st.sampled_from(BETWEEN), max_size=1))
    ends = draw(st.sets(st.integers(1, len(written)), max_size=2))
    parts = [b"".join(written[start:end]) for start, end in pairwise(sorted({0, *ends, len(written)}))]
    return [piece for part in parts for piece in pieces(part, draw(CUT))]


def check_that_together_is_one_by_one(parts: list[bytes]) -> None:
    together, one_by_one = Assembly(), Assembly()
    with patch.object(stream, "_FEW_BYTES", 0):
        for piece in parts:
            together.feed(piece)
    for byte in b"".join(parts):
        one_by_one.feed(bytes([byte]))
    for assembly in (together, one_by_one):
        assembly.end()
    assert together.body() == one_by_one.body()
    for name in ("has_ended", "has_failed", "has_words", "is_readable", "patience"):
        assert getattr(together, name) == getattr(one_by_one, name)


@settings(max_examples=300)
@given(streams())
def test_events_that_are_read_together_come_to_the_same_as_one_by_one(parts: list[bytes]) -> None:
    check_that_together_is_one_by_one(parts)


@pytest.mark.parametrize("between", BETWEEN)
def test_an_event_like_those_before_is_none_of_them_where_it_does_not_begin_or_count(between: bytes) -> None:
    alike = DELTAS[0] % b"a" * 3
    check_that_together_is_one_by_one([alike + between, alike])


def test_of_events_that_are_alike_few_are_decoded() -> None:
    words = ['a "quoted" word', "a\nline", " é", " 😀", "\ud83d"] * 40
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    assembly = Assembly()
    with patch.object(stream, "_read", wraps=stream._read) as read:
        for piece in (body[:5_000], body[5_000:]):
            assembly.feed(piece)
    assert 0 < read.call_count < 10
    message = json.loads(assembly.body())["choices"][0]["message"]
    assert message["content"] == "".join(words).replace("\ud83d", "\ufffd")


@pytest.mark.parametrize("order", ["ab", "aabb", "aaab", "aaaabbbb"])
def test_where_events_of_two_kinds_alternate_a_piece_is_looked_through_a_few_times(order: str) -> None:
    kinds = {"a": DELTAS[0] % b"a", "b": DELTAS[0].replace(b'"m"', b'"another"') % b"b"}
    body = b"".join(kinds[kind] for kind in order) * 200
    assembly = Assembly()
    with patch.object(Alike, "taken_from", autospec=True, side_effect=Alike.taken_from) as taken:
        assembly.feed(body)
    looked_through = sum(len(call.args[1]) for call in taken.call_args_list)
    assert looked_through < 20 * len(body)
    assert json.loads(assembly.body())["choices"][0]["message"]["content"] == order * 200
