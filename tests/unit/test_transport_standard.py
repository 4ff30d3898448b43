"""What the standard transport does that the lean one does not: SOCKS and https:// proxies, and threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from pipeline.errors import ErrorKind
from pipeline.transport import AttemptHooks, Outcome, RawReply, Transport, TransportError
from tests.support.raw_server import OK, TLS, Peer, always, serving, sized
from tests.support.socks import Socks, forward


@pytest.fixture(autouse=True)
def _no_network_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def standard(url: str, *, timeout_seconds: float = 5) -> Iterator[Transport]:
    transport = Transport(url, {}, connections=4, timeout_seconds=timeout_seconds, standard=True)
    try:
        yield transport
    finally:
        transport.end()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_socks_proxy_resolves_the_name_and_carries_every_request(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "server.pem"))
    with serving(always(OK), tls=tls) as server:
        socks = Socks(server.port)
        with serving(socks) as proxy:
            monkeypatch.setenv("ALL_PROXY", f"socks5h://user:pass@127.0.0.1:{proxy.port}")
            with standard(f"{'https' if tls else 'http'}://endpoint.test/api") as transport:
                assert transport.post(b"{}").body == b"ok"
                assert transport.post(b"x" * 1_000_000).body == b"ok"
    assert (socks.asked, proxy.connections, len(server.requests)) == ([b"endpoint.test"], 1, 2)


@pytest.mark.parametrize("refusal", [{"reply": 5}, {"password": b"another"}], ids=["refused", "wrong password"])
def test_a_socks_proxy_that_refuses_means_that_nothing_was_sent(
    refusal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(always(OK)) as server, serving(Socks(server.port, **refusal)) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://user:pass@127.0.0.1:{proxy.port}")
        with standard("http://endpoint.test") as transport, pytest.raises(TransportError) as caught:
            transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.CONNECTION_ERROR, False)
    assert "SOCKS5 authentication failed" in caught.value.message or "refused" in caught.value.message
    assert server.requests == []


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_an_https_proxy_is_spoken_to_within_tls(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "server.pem"))
    with serving(always(OK), tls=True) as server:

        def tunnel(peer: Peer) -> None:
            peer.receive()
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            forward(peer.socket, server.port)

        with serving(tunnel if tls else always(OK), tls=True) as proxy:
            for name in ("HTTP_PROXY", "HTTPS_PROXY"):
                monkeypatch.setenv(name, f"https://user:pass@localhost:{proxy.port}")
            with standard(f"{'https' if tls else 'http'}://endpoint.test/api") as transport:
                assert transport.post(b"{}").body == b"ok"
                assert transport.post(b"{}").body == b"ok"
    line = b"CONNECT endpoint.test:443 " if tls else b"POST http://endpoint.test/api "
    # A second tunnel is no fault: a session ticket of TLS 1.3 that comes late looks like the end of the first one.
    assert len(proxy.requests) in ((1, 2) if tls else (2,))
    for request in proxy.requests:
        assert request.startswith(line)
        assert b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in request
    assert len(server.requests) == (2 if tls else 0)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_https_proxy_that_nobody_vouches_for_is_told_nothing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(OK), tls=True) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"https://user:pass@localhost:{proxy.port}")
        with standard(f"{scheme}://endpoint.test") as transport, pytest.raises(TransportError) as caught:
            transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent, proxy.requests) == (ErrorKind.TLS_ERROR, False, [])
    assert "certificate" in caught.value.message


def test_an_attempt_through_tls_within_tls_ends_at_once_when_it_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hanging(peer: Peer) -> None:
        peer.receive()
        released.wait(60)

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "server.pem"))
    with serving(hanging, tls=True) as server:

        def tunnel(peer: Peer) -> None:
            peer.receive()
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            forward(peer.socket, server.port)

        with serving(tunnel, tls=True) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{proxy.port}")
            with standard("https://endpoint.test", timeout_seconds=60) as transport:
                outcomes: list[Outcome] = []
                transport.start(b"{}", AttemptHooks(), outcomes.append)
                while not server.requests:
                    transport.loop.turn(0.01)
                transport.abandon()
                transport.loop.turn(1)
                (outcome,) = outcomes
                assert isinstance(outcome, TransportError) and outcome.sent_in_full and "abandoned" in outcome.message
                give_up = monotonic() + 20
                while any(thread.name == "sender" for thread in threading.enumerate()):
                    assert monotonic() < give_up
                    sleep(0.01)
                released.set()


def test_cookies_do_not_gather_in_the_session() -> None:
    """What a server sets is refused where it comes in, so that no cookies gather over a long run."""
    with serving(always(sized(b"", "Set-Cookie: a=b"))) as server, standard(server.url) as transport:
        transport.post(b"{}")
        assert not transport._backend._session.cookies  # type: ignore[attr-defined]


def test_more_attempts_than_threads_wait_for_their_turn_and_fail_when_the_transport_closes() -> None:
    released = threading.Event()

    def script(peer: Peer) -> None:
        while body := peer.receive():
            released.wait(5)
            peer.send(sized(body))

    outcomes: list[Outcome] = []
    with serving(script) as server, standard(server.url) as transport:
        for number in range(6):
            transport.start(b"%d" % number, AttemptHooks(), outcomes.append)
        while len(server.requests) < 4:
            transport.loop.turn(0.01)
        transport.loop.turn(0.05)
        assert len(server.requests) == 4
        transport.close()
        released.set()
        while len(outcomes) < 6:
            transport.loop.turn(1)
    bodies = [outcome.body for outcome in outcomes if isinstance(outcome, RawReply)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, TransportError)]
    assert sorted(bodies) == [b"0", b"1", b"2", b"3"]
    assert [error.sent for error in refused] == [False, False]


def test_an_attempt_that_is_ended_before_its_thread_notes_the_last_byte_counts_as_sent_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()
    monkeypatch.setattr("pipeline.transport.standard._Attempt.on_sent", lambda attempt: released.wait(5))
    with serving(always(OK)) as server, standard(server.url) as transport:
        outcomes: list[Outcome] = []
        transport.start(b"{}", AttemptHooks(), outcomes.append)
        while not server.requests:
            transport.loop.turn(0.01)
        transport.abandon()
        transport.loop.turn(1)
        released.set()
    (outcome,) = outcomes
    assert isinstance(outcome, TransportError) and outcome.sent_in_full
