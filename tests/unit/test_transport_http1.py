"""Replies fed in whatever pieces they come."""

from __future__ import annotations

import gzip
import http.client
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.transport import AttemptHooks, TransportError
from pipeline.transport.body import Body
from pipeline.transport.http1 import ReplyReader

MOST = 10_000
BARE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
DEFLATED = BARE.compress(b"whole") + BARE.flush()


def sized(body: bytes, coding: str = "identity") -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(body)) + body
    )


WIRES = [
    sized(b"whole"),
    sized(gzip.compress(b"wh", mtime=0) + gzip.compress(b"ole", mtime=0), "gzip"),
    sized(gzip.compress(b"whole", mtime=0) + b"\0", "gzip"),
    sized(zlib.compress(b"whole"), "deflate"),
    sized(DEFLATED, "deflate"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nwh\r\n3\r\nole\r\n0\r\nTrailer: z\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 \r\n\r\n" + sized(b"whole"),
    b"HTTP/1.0 200 OK\nX: y\n z\n\nwhole",
]


def read(pieces: list[bytes]) -> tuple[int, bytes, bool]:
    """Return the status, the body, and whether the connection serves for another request."""
    feeds = iter([*(piece for piece in pieces if piece), b""])
    reader = ReplyReader()
    while not reader.has_head():
        reader.feed(next(feeds))
    body = Body(reader.headers, reader.length, MOST, AttemptHooks())
    for piece in reader.body():
        if piece:
            body.feed(piece)
        else:
            reader.feed(next(feeds))
    return reader.status, body.complete(), not reader.is_last and not reader.has_more


@pytest.mark.parametrize("wire", WIRES)
def test_a_reply_is_the_same_in_one_piece_and_byte_by_byte(wire: bytes) -> None:
    assert read([wire])[:2] == read([wire[at : at + 1] for at in range(len(wire))])[:2] == (200, b"whole")


@given(st.sampled_from(WIRES), st.lists(st.integers(0, 200), max_size=6))
def test_a_reply_is_the_same_however_it_is_cut(wire: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    assert read([wire[a:b] for a, b in itertools.pairwise(places)]) == read([wire])


@given(st.sampled_from(WIRES[:-1]), st.integers(0, 200))
def test_a_reply_that_ends_early_is_never_whole(wire: bytes, end: int) -> None:
    wire = wire[: min(end, len(wire) - 1)]
    with pytest.raises((http.client.HTTPException, TransportError)):
        read([wire])


def test_what_follows_a_reply_is_told() -> None:
    assert read([sized(b"whole")])[2]
    assert not read([sized(b"whole") + b"x"])[2]
