"""The transport against a server of raw sockets, which sends what a script says, however wrong.

Each test runs with both transports. Where the stock adapter of `requests` is weaker, the test says in what.
"""

from __future__ import annotations

import contextlib
import gzip
import pickle
import socket
import ssl
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import ErrorKind, InvalidInput
from pipeline.transport import AttemptHooks, Outcome, RawReply, RequestBody, Transport, TransportError
from tests.support.raw_server import OK, TLS, Peer, Script, Server, always, once, serving, sized

KEY = "Bearer sk-very-secret"


@dataclass
class Chosen:
    """The adapter that the test at hand is about."""

    standard: bool = False


_chosen = Chosen()


@pytest.fixture(params=["lean", "standard"], scope="module", autouse=True)
def adapter(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    _chosen.standard = name == "standard"
    return name


class Driven(Transport):
    """A transport whose loop turns in a thread of its own, so that any thread may post."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fault: BaseException | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._turn, daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        try:
            while not self._is_over:
                self.loop.turn(10)
        except BaseException as fault:
            self._fault = fault

    def post(self, body: RequestBody, hooks: AttemptHooks | None = None) -> RawReply:
        outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self.loop.call(lambda: self.start(body, hooks or AttemptHooks(), outcomes.put))
        while True:
            with contextlib.suppress(Empty):
                outcome = outcomes.get(timeout=0.1 if self._fault is None else 0)
                if isinstance(outcome, RawReply):
                    return outcome
                raise outcome
            if self._fault is not None:
                raise self._fault

    def close(self) -> None:
        closed = threading.Event()
        self.loop.call(super().close)
        self.loop.call(closed.set)
        assert closed.wait(5) or self._fault

    def end(self) -> None:
        self.close()
        self.loop.call(lambda: setattr(self, "_is_over", True))
        self._thread.join(5)
        super().end()


@contextlib.contextmanager
def transport_to(url: str, *, timeout_seconds: float = 5, most_bytes: int = 2**20) -> Iterator[Driven]:
    headers = {"Authorization": KEY, "Content-Type": "application/json"}
    transport = Driven(
        url, headers, connections=4, timeout_seconds=timeout_seconds, most_bytes=most_bytes, standard=_chosen.standard
    )
    try:
        yield transport
    finally:
        transport.end()


def failure_of(script: Script, *, timeout_seconds: float = 5, most_bytes: int = 2**20) -> TransportError:
    with (
        serving(script) as server,
        transport_to(server.url, timeout_seconds=timeout_seconds, most_bytes=most_bytes) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.post(b"{}")
    return caught.value


def reply_to(script: Script, *, body: bytes = b"{}", most_bytes: int = 2**20) -> RawReply:
    with serving(script) as server, transport_to(server.url, most_bytes=most_bytes) as transport:
        return transport.post(body)


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_network_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


# Requests and replies


def test_the_request_holds_the_body_and_the_headers_as_given() -> None:
    with serving(always(OK)) as server, transport_to(server.url) as transport:
        assert transport.post(b'{"a": 1}').body == b"ok"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /api/v1?a=b HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert f"Authorization: {KEY}" in lines
    assert "Content-Type: application/json" in lines
    assert "Content-Length: 8" in lines
    assert body == b'{"a": 1}'


@pytest.mark.parametrize("status", [200, 204, 302, 401, 429, 500, 599])
def test_a_reply_of_any_status_is_given_as_it_is(status: int) -> None:
    reply = reply_to(once(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n" % status))
    assert (reply.status, reply.body) == (status, b"")


def test_headers_are_found_in_any_case_and_repeated_ones_are_joined() -> None:
    reply = reply_to(once(sized(b"", "Retry-After: 7", "X-Twice: a", "x-twice: b")))
    assert reply.headers["retry-AFTER"] == "7"
    assert reply.headers["X-Twice"] == "a, b"
    assert reply.headers.get("Date") is None


def test_a_header_may_go_on_in_the_next_line_and_lines_may_end_in_a_line_feed_alone(adapter: str) -> None:
    reply = reply_to(once(b"HTTP/1.1 200 OK\nX-Long: one\n  two\r\nContent-Length:2\n\nok"))
    value = reply.headers["X-Long"]
    if adapter == "standard":
        value = " ".join(value.split())  # the line end stays in it: urllib3 takes out only CR LF
    assert (value, reply.body) == ("one two", b"ok")


@pytest.mark.parametrize(
    "wire",
    [
        sized(b"whole"),
        chunked(b"wh", b"ole"),
        b"HTTP/1.1 200 OK\r\n\r\nwhole",
        b"HTTP/1.0 200 OK\r\n\r\nwhole",
        chunked(b"whole").replace(b"chunked", b"chunked\r\ntransfer-encoding: Chunked"),
        sized(b"whole").replace(b"200 OK\r\n", b"200 OK\r\nTransfer-Encoding: identity\r\n"),
    ],
    ids=["sized", "chunked", "until the end", "HTTP/1.0", "chunked twice", "identity"],
)
def test_a_body_is_whole_however_its_end_is_marked(wire: bytes) -> None:
    assert reply_to(once(wire)).body == b"whole"


def test_interim_replies_are_skipped_and_never_taken_for_the_next_answer(adapter: str) -> None:
    def script(peer: Peer) -> None:
        while body := peer.receive():
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            peer.pause(0.02)
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" + sized(body))

    with serving(script) as server, transport_to(server.url) as transport:
        if adapter == "standard":  # http.client takes a 103 for the reply, so the connection is given up
            for body in (b"one", b"two"):
                with pytest.raises(TransportError, match="HTTP 103, which is no final reply") as caught:
                    transport.post(body)
                assert caught.value.sent_in_full
            assert server.connections == 2
            return
        assert [transport.post(body).body for body in (b"one", b"two")] == [b"one", b"two"]
    assert server.connections == 1


def test_a_reply_that_was_taken_for_another_is_never_the_answer_to_the_next_request() -> None:
    """The answer comes only after the next request could have gone out over the same connection."""

    def script(peer: Peer) -> None:
        while body := peer.receive():
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            peer.pause(0.2)
            peer.send(sized(body))

    with serving(script) as server, transport_to(server.url) as transport:
        for body in (b"one", b"two", b"three"):
            with contextlib.suppress(TransportError):
                assert transport.post(body).body == body


def test_redirects_are_given_back_and_the_key_goes_nowhere_else() -> None:
    with serving(always(OK)) as target:
        location = f"Location: http://127.0.0.1:{target.port}/elsewhere\r\n".encode()
        with (
            serving(always(b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n" + location + b"\r\n")) as server,
            transport_to(server.url) as transport,
        ):
            assert transport.post(b"{}").status == 307
    assert target.connections == 0


@pytest.mark.parametrize("location", ["http://[bad", "\xff\xfe", "//", "ftp://x"])
def test_a_redirect_to_nonsense_is_a_reply_like_any_other(location: str) -> None:
    wire = f"HTTP/1.1 302 Moved\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode("latin-1")
    assert reply_to(once(wire)).status == 302


def test_the_body_of_a_redirect_is_within_the_cap() -> None:
    reply = _endless(b"Location: /elsewhere\r\n", b"x" * 65536, status=302)
    assert failure_of(reply).kind == ErrorKind.REPLY_TOO_LARGE


def test_cookies_are_not_kept() -> None:
    with serving(always(sized(b"", "Set-Cookie: a=b"))) as server, transport_to(server.url) as transport:
        transport.post(b"{}")
        transport.post(b"{}")
    assert b"cookie" not in server.requests[1].lower()


def test_the_early_reply_to_a_large_body_is_given_when_the_server_hangs_up() -> None:
    def script(peer: Peer) -> None:
        peer.socket.recv(100)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        peer.socket.shutdown(socket.SHUT_WR)
        peer.pause(0.05)  # then closes with most of the body unread, which resets the connection

    reply = reply_to(script, body=b"x" * 10_000_000)
    assert (reply.status, reply.body) == (413, b"big")


def test_a_reset_amid_a_large_body_counts_as_sent_and_not_as_whole() -> None:
    def script(peer: Peer) -> None:
        peer.socket.recv(100)
        peer.reset()

    with serving(script) as server, transport_to(server.url) as transport, pytest.raises(TransportError) as caught:
        transport.post(b"x" * 10_000_000)
    error = caught.value
    assert (error.kind, error.sent, error.sent_in_full) == (ErrorKind.CONNECTION_ERROR, True, False)


# Kept connections


def test_a_connection_is_used_again() -> None:
    with serving(always(OK)) as server, transport_to(server.url) as transport:
        for _ in range(3):
            transport.post(b"{}")
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_connection_that_the_server_will_close_is_not_used_again() -> None:
    with serving(always(sized(b"", "Connection: close"))) as server, transport_to(server.url) as transport:
        transport.post(b"{}")
        transport.post(b"{}")
    assert server.connections == 2


def test_a_connection_closed_while_idle_is_replaced_before_anything_is_sent() -> None:
    with serving(once(OK)) as server, transport_to(server.url) as transport:
        transport.post(b"{}")
        sleep(0.05)
        assert transport.post(b"{}").status == 200
    assert (server.connections, len(server.requests)) == (2, 2)


def test_a_failure_drops_the_idle_connections_which_may_be_as_dead_as_its_own() -> None:
    def script(peer: Peer) -> None:  # replies to the first request over each connection alone
        peer.receive()
        peer.pause(0.2)
        peer.send(OK)
        peer.receive()

    with serving(script) as server, transport_to(server.url) as transport, ThreadPoolExecutor(2) as pool:
        assert [reply.status for reply in pool.map(transport.post, [b"{}"] * 2)] == [200, 200]
        assert server.connections == 2
        with pytest.raises(TransportError):
            transport.post(b"{}")
        assert [reply.status for reply in pool.map(transport.post, [b"{}"] * 2)] == [200, 200]
    assert server.connections == 4


def test_a_fresh_attempt_goes_over_a_new_connection() -> None:
    hooks = AttemptHooks()
    hooks.new_connection = True
    with serving(always(OK)) as server, transport_to(server.url) as transport:
        transport.post(b"{}")
        transport.post(b"{}", hooks)
        transport.post(b"{}")
    assert (server.connections, len(server.requests)) == (2, 3)


def test_a_connection_with_bytes_nobody_asked_for_is_replaced() -> None:
    def script(peer: Peer) -> None:
        while body := peer.receive():
            peer.send(sized(body))
            peer.pause(0.02)
            peer.send(sized(b"a stray reply"))

    with serving(script) as server, transport_to(server.url) as transport:
        assert transport.post(b"one").body == b"one"
        sleep(0.05)
        assert transport.post(b"two").body == b"two"
    assert server.connections == 2


def test_a_connection_with_more_on_it_than_the_reply_is_replaced(adapter: str) -> None:
    def script(peer: Peer) -> None:
        while body := peer.receive():
            peer.send(sized(body) + sized(b"a stray reply"))

    with serving(script) as server, transport_to(server.url) as transport:
        assert [transport.post(body).body for body in (b"one", b"two")] == [b"one", b"two"]
    # The stock adapter drops what came in together with the reply, and sees only what comes later.
    assert server.connections == 2 or (adapter == "standard" and server.connections == 1)


def test_a_kept_connection_that_ends_without_a_reply_counts_as_sent_and_is_not_tried_again() -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(OK)
        peer.receive()

    with serving(script) as server, transport_to(server.url) as transport:
        transport.post(b"{}")
        with pytest.raises(TransportError) as caught:
            transport.post(b"{}")
        assert (caught.value.kind, caught.value.sent) == (ErrorKind.CONNECTION_ERROR, True)
        assert caught.value.sent_in_full
        assert caught.value.message == "the server closed the connection without a reply"
    assert (server.connections, len(server.requests)) == (1, 2)


def test_many_threads_each_get_their_own_answer_over_few_connections() -> None:
    def script(peer: Peer) -> None:
        while body := peer.receive():
            peer.send(sized(body))

    with serving(script) as server, transport_to(server.url) as transport, ThreadPoolExecutor(16) as pool:
        bodies = [b"%d" % number for number in range(400)]
        assert [reply.body for reply in pool.map(transport.post, bodies)] == bodies
        connections_before = server.connections
        transport.post(b"last")
        assert server.connections == connections_before


# Failures


def test_a_refused_connection_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with transport_to(f"http://127.0.0.1:{port}") as transport, pytest.raises(TransportError) as caught:
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.CONNECTION_ERROR, False)
    assert caught.value.message == "Connection refused"


def test_an_unknown_host_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with transport_to("http://nowhere.test") as transport, pytest.raises(TransportError) as caught:
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.CONNECTION_ERROR, False)
    assert "host name" in caught.value.message


def _reset_before(peer: Peer) -> None:
    peer.receive()
    peer.reset()


def _reset_amid(peer: Peer) -> None:
    peer.receive()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
    peer.pause(0.02)
    peer.reset()


@pytest.mark.parametrize(
    "script",
    [
        _reset_before,
        _reset_amid,
        once(b""),
        once(b"HTTP/1.1 200 OK\r\nContent-Le"),
        once(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n0\r\n\r\n"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nhalf\r\n0\r\n\r\n"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhalf\r\n0\r\n\r\n"),
        once(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n\r\nhalf"),
        once(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        once(b"HTTP/1.1 200 OK\r\nName : value\r\n\r\n"),
        once(b"SSH-2.0-OpenSSH_9.2\r\n"),
        once(b"HTTP/1.1 abc\r\n\r\n"),
        once(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
        once(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000),
    ],
    ids=[
        "reset before the reply",
        "reset amid the reply",
        "nothing",
        "cut head",
        "cut body",
        "cut chunk",
        "no last chunk",
        "bad chunk size",
        "negative chunk",
        "overlong chunk",
        "two lengths",
        "a header without a name",
        "a blank before the colon",
        "another protocol",
        "bad status",
        "endless headers",
        "endless header",
    ],
)
def test_a_broken_reply_is_a_connection_error_that_counts_as_sent(script: Script) -> None:
    error = failure_of(script)
    assert (error.kind, error.sent, error.sent_in_full) == (ErrorKind.CONNECTION_ERROR, True, True)
    assert len(error.message) < 80


def test_a_head_that_is_cut_between_lines_is_a_broken_reply(adapter: str) -> None:
    script = once(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
    if adapter == "standard":  # http.client takes it for whole; a 200 without usage counts as possibly billed
        assert reply_to(script).body == b""
        return
    error = failure_of(script)
    assert (error.kind, error.sent, error.sent_in_full) == (ErrorKind.CONNECTION_ERROR, True, True)


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(TransportError(ErrorKind.TIMEOUT, "too slow", True, False)))
    assert (error.kind, error.message, error.sent, error.sent_in_full) == (ErrorKind.TIMEOUT, "too slow", True, False)
    assert str(error) == "too slow"


# The deadline


def _drip_head(peer: Peer) -> None:
    peer.receive()
    peer.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50)


def _drip_body(peer: Peer) -> None:
    peer.receive()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    peer.drip(b"x" * 1000)


def _drip_chunks(peer: Peer) -> None:
    peer.receive()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.drip(b"1\r\nx\r\n" * 1000)


def _drip_interim_replies(peer: Peer) -> None:
    peer.receive()
    peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def _silence(peer: Peer) -> None:
    peer.receive()
    peer.pause()


@pytest.mark.parametrize("script", [_silence, _drip_head, _drip_body, _drip_chunks, _drip_interim_replies])
def test_the_deadline_bounds_the_whole_attempt_however_the_server_drips(script: Script) -> None:
    began = monotonic()
    error = failure_of(script, timeout_seconds=0.2)
    assert 0.15 < monotonic() - began < 0.6
    assert (error.kind, error.sent) == (ErrorKind.TIMEOUT, True)
    assert error.message == "no complete reply within 0.2 seconds"


def test_the_deadline_bounds_a_server_that_does_not_read(adapter: str) -> None:
    with (
        serving(lambda peer: peer.pause()) as server,
        transport_to(server.url, timeout_seconds=1.5) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.post(b"x" * 50_000_000)
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TIMEOUT, True)
    # Whoever ends an attempt of a thread cannot know how far it has come, and takes it for sent in full.
    assert adapter == "standard" or not caught.value.sent_in_full


def test_the_deadline_bounds_connecting_and_then_nothing_was_sent() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # fills the queue of a server that never accepts
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        transport = stack.enter_context(
            transport_to(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=0.2)
        )
        with pytest.raises(TransportError) as caught:
            transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TIMEOUT, False)
    assert caught.value.message == "no connection within 0.2 seconds"


def test_the_deadline_bounds_a_resolver_that_hangs_and_nothing_is_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    getaddrinfo = socket.getaddrinfo

    def hanging(*arguments: Any, **options: Any) -> Any:
        released.wait(5)
        return getaddrinfo("127.0.0.1", *arguments[1:], **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    with serving(always(OK)) as server:
        with transport_to(f"http://endpoint.test:{server.port}", timeout_seconds=0.2) as transport:
            began = monotonic()
            with pytest.raises(TransportError) as caught:
                transport.post(b"{}")
            assert monotonic() - began < 1
            released.set()
            sleep(0.1)
        assert (caught.value.kind, caught.value.sent, server.requests) == (ErrorKind.TIMEOUT, False, [])


def test_silence_ends_an_attempt_as_soon_as_the_watch_says_while_drips_go_on() -> None:
    hooks = AttemptHooks()
    hooks.idle_seconds = 0.3

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        peer.drip(b"x" * 30)
        peer.pause()

    with serving(script) as server, transport_to(server.url) as transport:
        began = monotonic()
        with pytest.raises(TransportError, match=r"nothing of the reply came for 0\.3 seconds") as caught:
            transport.post(b"{}", hooks)
    assert 0.8 < monotonic() - began < 2
    assert (caught.value.kind, caught.value.sent_in_full) == (ErrorKind.TIMEOUT, True)


def test_what_is_expected_next_may_change_with_the_last_bytes_of_a_reply() -> None:
    class Stream(AttemptHooks):
        streams_body = True
        body = b""

        def on_data(self, piece: bytes) -> None:
            self.body += piece
            self.idle_seconds = 0.2

    hooks = Stream()
    with serving(once(sized(b"all of it", "Connection: close"))) as server, transport_to(server.url) as transport:
        assert transport.post(b"{}", hooks).status == 200
    assert hooks.body == b"all of it"


def test_a_timeout_beyond_what_sockets_take_is_no_error() -> None:
    with serving(always(OK)) as server, transport_to(server.url, timeout_seconds=1e12) as transport:
        assert transport.post(b"{}").status == 200


# Size and encoding


def encoded(coding: str, body: bytes) -> bytes:
    return sized(body, f"Content-Encoding: {coding}")


def _bare_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


@pytest.mark.parametrize(
    "wire",
    [
        encoded("identity", b"whole"),
        encoded("gzip", gzip.compress(b"whole")),
        encoded("X-GZip", gzip.compress(b"whole")),
        encoded("gzip", gzip.compress(b"wh") + gzip.compress(b"ole")),
        encoded("gzip", gzip.compress(b"whole") + b"\0" * 100),
        encoded("deflate", zlib.compress(b"whole")),
        encoded("deflate", _bare_deflate(b"whole")),
    ],
    ids=["identity", "gzip", "x-gzip", "two members", "padding", "zlib", "bare deflate"],
)
def test_a_compressed_body_is_decoded(wire: bytes) -> None:
    assert reply_to(once(wire)).body == b"whole"


def test_a_large_compressed_body_is_decoded_whole() -> None:
    body = b"0123456789abcdef" * 2**17
    assert reply_to(once(encoded("gzip", gzip.compress(body))), most_bytes=len(body)).body == body


def test_an_empty_body_needs_no_encoding() -> None:
    assert reply_to(once(encoded("gzip", b""))).body == b""


@pytest.mark.parametrize(
    "wire",
    [
        encoded("gzip", b"not gzip at all"),
        encoded("gzip", gzip.compress(b"whole" * 1000)[:-10]),
        encoded("gzip", gzip.compress(b"whole")[:-6] + b"\0" * 6),
        encoded("br", b"whole"),
        encoded("gzip, gzip", gzip.compress(gzip.compress(b"whole"))),
    ],
    ids=["no gzip", "cut", "wrong checksum", "unknown", "twice"],
)
def test_a_broken_or_unknown_encoding_is_an_invalid_reply(wire: bytes) -> None:
    error = failure_of(once(wire))
    assert (error.kind, error.sent) == (ErrorKind.INVALID_REPLY, True)


def _endless(head: bytes, piece: bytes, *, status: int = 200) -> Script:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 %d OK\r\n%b\r\n" % (status, head))
        while True:
            peer.send(piece)

    return script


@pytest.mark.parametrize(
    "script",
    [
        _endless(b"", b"x" * 65536),
        _endless(b"Transfer-Encoding: chunked\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        _endless(b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y", b"X: " + b"y" * 1000 + b"\r\n"),
        _endless(b"Content-Length: 1000000000000\r\n", b"x" * 65536),
        once(encoded("gzip", gzip.compress(b"\0" * 2**24, 1))),
        once(encoded("deflate", zlib.compress(b"\0" * 2**24, 1))),
    ],
    ids=["until the end", "chunked", "trailers", "sized", "gzip bomb", "deflate bomb"],
)
def test_a_reply_beyond_the_cap_is_refused_within_twice_the_memory(
    script: Script, adapter: str, request: pytest.FixtureRequest
) -> None:
    cap = 2**22
    is_unseen = adapter == "standard" and "trailers" in request.node.name  # urllib3 reads them on: the deadline ends it
    tracemalloc.start()
    try:
        error = failure_of(script, most_bytes=cap, timeout_seconds=1 if is_unseen else 5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (error.kind, error.sent) == (ErrorKind.TIMEOUT if is_unseen else ErrorKind.REPLY_TOO_LARGE, True)
    assert peak < 2 * cap + 3 * 2**20


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_body_of_just_the_cap_is_whole_and_one_byte_more_is_refused(coding: str) -> None:
    body = b"x" * 100_000
    wire = encoded(coding, gzip.compress(body) if coding == "gzip" else body)
    assert reply_to(once(wire), most_bytes=100_000).body == body
    assert failure_of(once(wire), most_bytes=99_999).kind == ErrorKind.REPLY_TOO_LARGE


@pytest.fixture(scope="module")
def parrot() -> Iterator[tuple[Transport, list[bytes]]]:
    """A server that sends whatever bytes stand last in the list, then closes."""
    wire = [b""]

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(wire[-1])

    with serving(script) as server, transport_to(server.url, most_bytes=1000) as transport:
        yield transport, wire


FRAGMENTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 \r\n",
        b"HTTP/1.1 101 \r\n",
        b"HTTP/1.1 204 \r\n",
        b"HTTP/1.0 200\r\n",
        b"\r\n",
        b"0\r\n",
        b"-5\r\n",
        b"3\r\nabc\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: deflate\r\n",
        b"Connection: close\r\n",
        b": \r\n",
        gzip.compress(b"abc"),
    ]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=8), max_size=8).map(b"".join))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
@example(b"HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
def test_any_bytes_give_a_reply_or_a_typed_error(parrot: tuple[Transport, list[bytes]], data: bytes) -> None:
    transport, wire = parrot
    wire.append(data)
    try:
        assert len(transport.post(b"{}").body) <= 1000
    except TransportError as error:
        assert error.sent
        assert error.kind in (ErrorKind.CONNECTION_ERROR, ErrorKind.INVALID_REPLY, ErrorKind.REPLY_TOO_LARGE)


# TLS


def test_a_certificate_that_nobody_vouches_for_is_a_tls_error_and_nothing_was_sent() -> None:
    with (
        serving(always(OK), tls=True) as server,
        transport_to(server.tls_url) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TLS_ERROR, False)
    assert "certificate" in caught.value.message
    assert server.requests == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_names_the_trusted_certificates(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, str(TLS / "server.pem"))
    with serving(always(OK), tls=True) as server, transport_to(server.tls_url) as transport:
        monkeypatch.delenv(variable)  # it was read at construction
        assert transport.post(b"{}").body == b"ok"
        assert transport.post(b"x" * 1_000_000).body == b"ok"
    assert server.connections == 1


def test_a_certificate_for_another_host_is_a_tls_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "server.pem"))
    with (
        serving(always(OK), tls=True) as server,
        transport_to(f"https://127.0.0.2:{server.port}") as transport,
        pytest.raises(TransportError) as caught,
    ):
        monkeypatch.setattr(socket.socket, "connect", _connect_to_127_0_0_1(socket.socket.connect))
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TLS_ERROR, False)


def _connect_to_127_0_0_1(connect: Callable[..., None]) -> Callable[..., None]:
    return lambda self, address: connect(self, ("127.0.0.1", address[1]))


def test_a_server_without_tls_is_a_tls_error_and_nothing_was_sent() -> None:
    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.pause(0.1)

    with (
        serving(script) as server,
        transport_to(server.tls_url) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TLS_ERROR, False)


def test_a_connection_lost_amid_the_handshake_is_a_connection_error_and_nothing_was_sent() -> None:
    with (
        serving(lambda peer: None) as server,
        transport_to(server.tls_url) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.CONNECTION_ERROR, False)


def test_the_deadline_bounds_the_handshake_and_nothing_was_sent() -> None:
    with (
        serving(lambda peer: peer.pause()) as server,
        transport_to(server.tls_url, timeout_seconds=0.2) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TIMEOUT, False)


def test_the_deadline_bounds_a_drip_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "server.pem"))
    with (
        serving(_drip_body, tls=True) as server,
        transport_to(server.tls_url, timeout_seconds=0.3) as transport,
        pytest.raises(TransportError) as caught,
    ):
        transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TIMEOUT, True)


def test_a_certificate_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    with pytest.raises(InvalidInput, match=r"/no/such/file\.pem \(SSL_CERT_FILE\)"), transport_to("https://a.test"):
        pass


# Proxies and the environment


def test_loopback_uses_neither_proxy_nor_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(always(OK)) as proxy, serving(always(OK)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with transport_to(server.url) as transport:
            transport.post(b"{}")
    assert (proxy.connections, len(server.requests)) == (0, 1)
    assert f"Authorization: {KEY}".encode() in server.requests[0]


def test_plain_http_asks_the_proxy_of_the_environment_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(OK)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        with transport_to("http://endpoint.test/api?x=1") as transport:
            monkeypatch.delenv("HTTP_PROXY")
            transport.post(b"{}")
    assert proxy.requests[0].startswith(b"POST http://endpoint.test/api?x=1 HTTP/1.1\r\nHost: endpoint.test\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in proxy.requests[0]


def test_https_goes_through_a_tunnel_and_the_proxy_never_sees_the_key(
    adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
        with context.wrap_socket(peer.socket, server_side=True) as sock:
            always(OK)(Peer(sock, peer.number, peer.stopped, inside))

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "server.pem"))
    with serving(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@127.0.0.1:{proxy.port}")
        with transport_to("https://endpoint.test/api") as transport:
            assert transport.post(b"{}").body == b"ok"
            assert transport.post(b"{}").body == b"ok"
    assert len(proxy.requests) == 1
    # http.client asks in HTTP/1.0, which knows no Host header, up to Python 3.11.
    asked = {"lean": b"1.1\r\nHost: endpoint.test:443\r\n", "standard": b"1."}
    assert proxy.requests[0].startswith(b"CONNECT endpoint.test:443 HTTP/" + asked[adapter])
    assert b"Proxy-Authorization: Basic " in proxy.requests[0]
    assert KEY.encode() not in proxy.requests[0]
    assert len(inside) == 2
    assert b"Proxy-Authorization" not in inside[0]


@pytest.mark.parametrize(
    ("reply", "message", "standard"),
    [
        (b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", "the proxy refused the tunnel with status 407", ""),
        (b"", "the server closed the connection without a reply", ""),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2**17, "the host name, or the proxy's reply, is not sound", ""),
        # http.client does not count the headers of a proxy up to Python 3.11.
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2**19,
            "the host name, or the proxy's reply, is not sound",
            "the TLS handshake failed: unexpected eof while reading",
        ),
        # http.client takes the first status line of a proxy for the last one.
        (
            b"HTTP/1.1 102 Processing\r\n\r\n" * 50_000,
            "the proxy's reply is too large",
            "the proxy refused the tunnel with status 102",
        ),
    ],
    ids=["407", "hangs up", "endless header", "endless headers", "endless interim replies"],
)
def test_a_proxy_that_refuses_means_that_nothing_was_sent(
    reply: bytes, message: str, standard: str, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(once(reply)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with transport_to("https://endpoint.test") as transport, pytest.raises(TransportError) as caught:
            transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.CONNECTION_ERROR, False)
    assert caught.value.message in ({message, standard} if adapter == "standard" else {message})


def test_the_deadline_bounds_the_tunnel_and_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(_drip_head) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with transport_to("https://endpoint.test", timeout_seconds=0.2) as transport:
            began = monotonic()
            with pytest.raises(TransportError) as caught:
                transport.post(b"{}")
            assert monotonic() - began < 0.6
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TIMEOUT, False)


def test_a_certificate_that_nobody_vouches_for_is_a_tls_error_in_a_tunnel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
        context.wrap_socket(peer.socket, server_side=True)

    with serving(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with transport_to("https://endpoint.test") as transport, pytest.raises(TransportError) as caught:
            transport.post(b"{}")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TLS_ERROR, False)
    assert "certificate" in caught.value.message


def test_no_proxy_excepts_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(OK)) as proxy, serving(always(OK)) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "endpoint.test")
        monkeypatch.setattr(socket.socket, "connect", _connect_to_127_0_0_1(socket.socket.connect))
        monkeypatch.setattr(socket, "getaddrinfo", _addresses_of_loopback(socket.getaddrinfo))
        with transport_to(f"http://endpoint.test:{server.port}") as transport:
            transport.post(b"{}")
    assert (proxy.connections, server.connections) == (0, 1)


def _addresses_of_loopback(getaddrinfo: Callable[..., object]) -> Callable[..., object]:
    return lambda host, *arguments, **options: getaddrinfo("127.0.0.1", *arguments, **options)


@pytest.mark.parametrize(
    "address",
    [
        "socks5://user:hidden@proxy.test:1",
        "https://proxy.test",
        "http://:80",
        "http://a:b",
        "ftp://user:hidden@proxy.test",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_showing_its_password(
    address: str, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    if adapter == "standard" and address.startswith(("socks5", "https")):
        with transport_to("https://endpoint.test"):
            return
    with pytest.raises(InvalidInput, match="proxy") as caught, transport_to("https://endpoint.test"):
        pass
    assert "hidden" not in str(caught.value)
    assert adapter == "standard" or "endpoint.transport: standard" in str(caught.value)


def test_a_socks_proxy_without_its_package_says_how_to_install_it(
    adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1")
    words = r"pip install 'requests\[socks\]'" if adapter == "standard" else "endpoint.transport: standard"
    with pytest.raises(InvalidInput, match=words), transport_to("http://endpoint.test"):
        pass


# What cannot be sent


@pytest.mark.parametrize("key", ["Bearer secret\n", "Bearer secret\r\nX: y", "Bearer secret\u2026", " Bearer secret"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(InvalidInput, match="API key") as caught:
        Transport(
            "http://127.0.0.1:1", {"Authorization": key}, connections=1, timeout_seconds=1, standard=_chosen.standard
        )
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "endpoint.test/api", "ftp://endpoint.test", "http://", "http://a:99999", "http://["]
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="http"), transport_to(url):
        pass


# Closing and abandoning


def _failure_in_background(transport: Transport, server: Server, *, sent: bool) -> Callable[[], TransportError]:
    """Starts an attempt, and returns once the server has it; gives what it fails with."""
    failures: list[TransportError] = []

    def attempt() -> None:
        try:
            transport.post(b"{}")
        except TransportError as error:
            failures.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    while not (server.requests if sent else server.connections):
        sleep(0.005)

    def result() -> TransportError:
        thread.join(2)
        return failures[0]

    return result


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_abandoning_ends_every_attempt_under_way_at_once(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "server.pem"))
    with serving(_silence, tls=tls) as server:
        with transport_to(server.tls_url if tls else server.url) as transport:
            failure = _failure_in_background(transport, server, sent=True)
            began = monotonic()
            transport.abandon()
            error = failure()
        assert monotonic() - began < 0.5
    assert (error.kind, error.sent) == (ErrorKind.CONNECTION_ERROR, True)
    assert "abandoned" in error.message


def test_abandoning_right_before_a_connection_stands_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(OK)) as server, transport_to(server.url) as transport:

        class Late(socket.socket):
            def connect(self, address: object) -> None:
                transport.abandon()
                if _chosen.standard:  # else this is the thread that turns the loop
                    is_abandoned = threading.Event()
                    transport.loop.call(is_abandoned.set)
                    is_abandoned.wait(1)  # never set where the loop has ended by then, which abandons before
                super().connect(address)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "socket", Late)
        with pytest.raises(TransportError) as caught:
            transport.post(b"{}")
        monkeypatch.undo()
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.CONNECTION_ERROR, False)
    assert server.requests == []


def test_abandoning_ends_a_handshake_and_then_nothing_was_sent() -> None:
    with serving(lambda peer: peer.pause()) as server, transport_to(server.tls_url) as transport:
        failure = _failure_in_background(transport, server, sent=False)
        transport.abandon()
        assert failure().sent is False


def test_an_abandoned_body_without_a_length_is_not_taken_for_whole() -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of i")
        peer.pause()

    with serving(script) as server, transport_to(server.url) as transport:
        failure = _failure_in_background(transport, server, sent=True)
        sleep(0.05)
        transport.abandon()
        assert failure().kind == ErrorKind.CONNECTION_ERROR


def test_nothing_is_sent_after_closing() -> None:
    with serving(always(OK)) as server, transport_to(server.url) as transport:
        transport.post(b"{}")
        transport.close()
        with pytest.raises(TransportError, match="closed") as caught:
            transport.post(b"{}")
        assert caught.value.sent is False
    assert len(server.requests) == 1


def test_closing_lets_an_attempt_under_way_finish() -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.receive()
        closed.wait(2)
        peer.send(OK)

    with serving(script) as server, transport_to(server.url) as transport, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(transport.post, b"{}")
        while not server.requests:
            sleep(0.005)
        transport.close()
        closed.set()
        assert reply.result().status == 200
