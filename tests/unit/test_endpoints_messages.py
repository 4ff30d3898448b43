"""The endpoint's own words in the shapes that servers and gateways give them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.providers.documents import read_document
from pipeline.providers.messages import describe, errors_of

WORDS = "the prompt is too long"
NESTED = json.dumps({"error": WORDS})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": WORDS, "type": "x", "code": None}}, WORDS),
        ({"error": {"message": WORDS, "code": "context_length_exceeded"}}, f"context_length_exceeded: {WORDS}"),
        ({"error": WORDS}, WORDS),
        ({"error": [WORDS]}, WORDS),
        ({"error": {"error": {"message": WORDS}}}, WORDS),
        ({"error": "Bad Request", "message": WORDS, "status": 400, "path": "/v1"}, f"Bad Request; {WORDS}"),
        ({"error": "invalid_request", "error_description": WORDS}, f"invalid_request; {WORDS}"),
        ({"detail": WORDS}, WORDS),
        ({"detail": {"message": WORDS, "code": 7}}, f"7: {WORDS}"),
        ({"detail": {"error": WORDS}}, WORDS),
        (
            {"detail": [{"loc": ["body", "messages", 0], "msg": WORDS, "type": "v", "input": "prompt"}]},
            f"body.messages.0: {WORDS}",
        ),
        ([{"error": {"code": 400, "message": WORDS, "status": "INVALID_ARGUMENT"}}], f"400: {WORDS}"),
        ({"Message": WORDS}, WORDS),
        ({"message": WORDS, "object": "error", "code": 40303}, f"40303: {WORDS}"),
        ({"error_code": 336003, "error_msg": WORDS}, f"336003: {WORDS}"),
        ({"errorCode": "E1", "errorMessage": WORDS}, f"E1: {WORDS}"),
        ({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": WORDS}, WORDS),
        ({"type": "about:blank", "title": WORDS, "status": 400}, WORDS),
        ({"title": "Invalid", "errors": {"messages": [WORDS]}}, f"messages: {WORDS}"),
        ({"code": 1214, "msg": WORDS}, f"1214: {WORDS}"),
        ({"success": False, "errors": [], "messages": [{"code": 1, "message": WORDS}]}, f"1: {WORDS}"),
        ({"fault": {"faultstring": WORDS, "detail": {"errorcode": "E9"}}}, f"E9; {WORDS}"),
        ({"html-message": WORDS}, WORDS),
        (
            {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": NESTED}}},
            f"{WORDS}; 400: Provider returned error",
        ),
        ({"error": {"message": json.dumps({"error": {"message": WORDS, "code": 5}})}}, f"5: {WORDS}"),
        (WORDS, WORDS),
    ],
)
def test_the_servers_words_are_found_in_every_shape(body: Any, said: str) -> None:
    assert describe(400, {}, json.dumps(body), body) == f"HTTP 400: {said}"


def test_plain_text_is_quoted_and_a_page_gives_its_title() -> None:
    assert describe(400, {"Content-Type": "text/plain"}, f" {WORDS}\n", None) == f"HTTP 400: {WORDS}"
    page = "<html><head><title>\n 502 Bad&nbsp;Gateway </title></head><body><h1>no</h1>prompt</body></html>"
    assert describe(502, {}, page, None) == "HTTP 502: an HTML page instead of JSON: 502 Bad Gateway"


@pytest.mark.parametrize(
    "body",
    [
        "[" * 900 + "]" * 900,
        '{"error":' * 900 + "1" + "}" * 900,
        '{"errors":' + json.dumps([{"error": [[]] * 500}] * 500) + "}",
        '{"detail":"' + '{\\"detail\\":' * 5_000 + '"}',
    ],
)
def test_words_are_looked_for_within_bounds(body: str) -> None:
    assert len(errors_of(read_document(body))) <= 20
