"""Patterns over text that comes from outside take a time in proportion to it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from pipeline.config.reading.environment import fill_text
from pipeline.redaction import _escaped
from pipeline.simulator.chance import _MARKER
from pipeline.transport.http1 import ReplyReader

KEYS = ("sk-0123456789abcdef", 'quotes"and/slashes\\', "\\\\leading", "nnnnnnnn", "key-é")
REPEATED = (b"\\", b"\\\\u005c", b"\\u005c", b"a\\", b"\\n", b"s", b"n", b"u006e")


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    began = time.thread_time()
    yield
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_searched_for_in_one_pass(key: str) -> None:
    pattern = _escaped(key)
    for repeated in REPEATED:
        pattern.search(repeated * 60_000)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_found_however_it_is_escaped(key: str) -> None:
    plain = json.dumps(key, ensure_ascii=False)[1:-1]
    forms = [plain, "".join(f"\\u{ord(char):04x}" for char in key), "".join(f"\\u{ord(char):04X}" for char in key)]
    for form in [*forms, *(json.dumps(form, ensure_ascii=False)[1:-1] for form in forms), *map(json.dumps, forms)]:
        found = _escaped(key).sub(b"[key]", f"x {form} y".encode())
        assert found.replace(b'"', b"") == b"x [key] y"


@pytest.mark.parametrize("value", [" " * 60_000, "x" + " " * 60_000 + "x", " x" * 30_000, "\t " * 30_000 + "x"])
def test_a_header_is_read_in_one_pass(value: str) -> None:
    reader = ReplyReader()
    reader.feed(f"HTTP/1.1 200 OK\r\na:{value}\r\nContent-Length: 0\r\n\r\n".encode())
    assert reader.has_head()
    assert reader.headers["a"] == value.strip(" \t")


def test_chunks_of_one_byte_are_read_in_one_pass() -> None:
    reader = ReplyReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n")
    assert reader.has_head()
    assert sum(map(len, reader.body())) == 60_000


def test_variables_are_filled_in_in_one_pass() -> None:
    text = "${a:-" * 100_000
    assert fill_text(text, {}) == (text, [])
    assert fill_text("${A} $${b} " + text, {"A": "x"}) == ("x ${b} " + text, [])


def test_a_marker_of_a_fault_is_searched_for_in_one_pass() -> None:
    assert _MARKER.search("[[fault: a " * 50_000) is None
    found = _MARKER.search("say [[fault: rate retry_after=3 x2]]")
    assert found is not None and found[2].split() == ["retry_after=3", "x2"]
