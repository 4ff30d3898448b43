"""A job whose endpoint is reached through a SOCKS proxy."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.functional.conftest import Endpoint, Workspace
from tests.support.raw_server import serving
from tests.support.socks import Socks


def write_job(ws: Workspace, transport: str, **sections: Any) -> None:
    """Write a job of four rows whose endpoint has a name that only a proxy can resolve."""
    ws.questions("a", "b", "c", "d")
    url = f"http://endpoint.test:{urlsplit(ws.url).port}/api/v1"
    ws.job(endpoint={"url": url, "allow_insecure_http": True, "transport": transport}, **sections)


def test_every_row_is_asked_once_through_the_proxy(ws: Workspace, endpoint: Endpoint) -> None:
    write_job(ws, "standard")
    socks = Socks(urlsplit(ws.url).port or 0)
    with serving(socks) as proxy:
        ws.environment["ALL_PROXY"] = f"socks5h://user:pass@127.0.0.1:{proxy.port}"
        found = ws.run()
    assert (found["succeeded"], found["requests"], sorted(endpoint.prompts)) == (4, 4, ["a", "b", "c", "d"])
    assert set(socks.asked) == {b"endpoint.test"}


def test_a_proxy_that_refuses_is_an_outage_in_which_nothing_counts_as_billed(ws: Workspace, endpoint: Endpoint) -> None:
    write_job(ws, "standard", retry={"max_elapsed_seconds": 1})
    with serving(Socks(urlsplit(ws.url).port or 0, password=b"another")) as proxy:
        ws.environment["ALL_PROXY"] = f"socks5h://user:pass@127.0.0.1:{proxy.port}"
        found = ws.run(code=5)
    assert "SOCKS5 authentication failed" in found["error"]["message"]
    assert (found["pending"], found["possibly_billed_requests"], endpoint.asked) == (4, 0, [])


def test_without_the_package_it_is_exit_2_and_says_what_to_install(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_job(ws, "standard")
    monkeypatch.setitem(sys.modules, "socks", None)
    ws.environment["ALL_PROXY"] = "socks5h://user:hidden@127.0.0.1:1"
    found = ws.run(code=2)
    assert "pip install 'requests[socks]'" in found["error"]["message"]
    assert "hidden" not in str(found)


def test_the_lean_transport_names_the_one_that_can(ws: Workspace) -> None:
    write_job(ws, "lean")
    ws.environment["ALL_PROXY"] = "socks5h://user:hidden@127.0.0.1:1"
    message = ws.run(code=2)["error"]["message"]
    assert "endpoint.transport: standard" in message and "hidden" not in message
