"""The address and the headers of every request, beside those that `requests` prepares."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InvalidInput
from pipeline.transport import target
from pipeline.transport.target import target_of

_PLAIN = [
    "http://127.0.0.1:8000/v1/chat/completions",
    "https://cloud.example.com/api/v1",
    "http://localhost/",
    "https://a-b.example:443/x_y/~z/v1.5/",
    "https://example.com:59999/a",
]
_OTHERS = [
    "https://example.com:65535/a",
    "http://example.com:8\u0660/a",
    "https://example.com:65536/a",
    "http://localhost",
    "HTTPS://Example.com/v1",
    "https://bücher.example/v1",
    "https://example.com/a/../v1",
    "https://example.com/a b?x=1&y=ü",
    "https://user:word@example.com/v1",
    "http://[::1]:8000/v1",
    "https://.example.com",
    "ftp://example.com",
    "example.com/v1",
]


def as_requests_does(url: str) -> tuple[str | None, str] | None:
    request = requests.PreparedRequest()
    try:
        request.prepare_url(url, None)
    except requests.RequestException:
        return None
    return (request.url, request.path_url) if (request.url or "").startswith(("http://", "https://")) else None


def prepared(url: str) -> tuple[str, str] | None:
    try:
        found = target_of(url, {})
    except InvalidInput:
        return None
    return found.url, found.path


@pytest.mark.parametrize("url", [*_PLAIN, *_OTHERS])
def test_an_address_is_prepared_as_requests_does(url: str) -> None:
    assert prepared(url) == as_requests_does(url)


@settings(max_examples=50)
@given(st.from_regex(target._PLAIN, fullmatch=True))
def test_requests_would_change_nothing_in_a_plain_address(url: str) -> None:
    assert prepared(url) == as_requests_does(url)


@pytest.mark.parametrize("url", _PLAIN)
def test_a_plain_address_does_without_requests(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_prepared", pytest.fail)
    assert target_of(url, {}).path.startswith("/")


def test_of_headers_of_one_name_in_whatever_case_the_last_counts() -> None:
    found = target_of(_PLAIN[0], {"accept": "application/json", "User-Agent": "a/1", "user-agent": "mine"}).headers
    assert found == {"accept": "application/json", "Accept-Encoding": "gzip", "user-agent": "mine"}


@pytest.mark.parametrize("value", ["a\n", "a\r\nX: y", " a", "a ", "a\0b", "\u2026"])
@pytest.mark.parametrize("is_name", [True, False])
def test_what_no_header_can_carry_is_refused(value: str, is_name: bool) -> None:
    with pytest.raises(InvalidInput, match="a header holds characters that HTTP cannot carry"):
        target_of(_PLAIN[0], {value: "x"} if is_name else {"X": value})


@pytest.mark.parametrize("value", ["", "a", "Bearer a b", "é"])
def test_what_a_header_can_carry_is_taken(value: str) -> None:
    assert target_of(_PLAIN[0], {"X": value}).headers["X"] == value
