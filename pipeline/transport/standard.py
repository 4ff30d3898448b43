"""The standard adapter of `requests`: urllib3's pools, tunnels and TLS, http.client's reader, within our bounds.

urllib3's timeouts hold for one operation each, and it does not tell how far a request got. So its connections are made
here such that every operation on their sockets ends by the attempt's deadline, and that they note what was sent.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from queue import Empty, Full
from time import monotonic
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, HTTPError, NewConnectionError
from urllib3.util.response import assert_header_parsing

from pipeline.errors import ErrorKind
from pipeline.transport.adapter import ReplyResponse, WatchedRequest
from pipeline.transport.blocking import connect, cut, remaining
from pipeline.transport.body import read_body
from pipeline.transport.http1 import PIECE
from pipeline.transport.reply import WIRE_ALLOWANCE, RawReply, TransportError, Watch, explain, silent, too_large
from pipeline.transport.route import Route
from pipeline.transport.wire import SEND_PIECE

_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")


class StandardAdapter(HTTPAdapter):
    """Sends prepared requests over one route; safe from many threads. What `Lean` does, by other means."""

    def __init__(self, route: Route, *, connections: int, most_bytes: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self._route = route
        self._most_bytes = most_bytes
        self._under_way: set[_Attempt] = set()
        self._is_abandoned = False
        manager = self.poolmanager
        if route.proxy is not None:
            host = f"[{route.proxy.host}]" if ":" in route.proxy.host else route.proxy.host
            manager = self.proxy_manager_for(f"http://{host}:{route.proxy.port}")
        if route.tls is not None:
            route.tls.sslsocket_class = _SecureSocket
        scheme = "http" if route.tls is None else "https"
        self._pool = manager.connection_from_host(route.host, route.port, scheme, {"ssl_context": route.tls})
        self._pool.ConnectionCls = _Connection if route.tls is None else _SecureConnection

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """One attempt, within `timeout` seconds. The URL, TLS and proxy are the route's.

        Raises TransportError, and HeldBack where the watch says so; urllib3 then closes the connection.
        """
        body = request.body
        assert isinstance(body, bytes) and isinstance(request, WatchedRequest)
        watch = request.watch
        request = request.copy()
        request.headers["Content-Length"] = str(len(body))
        attempt = _current.attempt = _Attempt(timeout, self._most_bytes, watch)
        self._under_way.add(attempt)
        if watch.fresh:
            self._close_idle()
        try:
            return super().send(request, stream=True)
        except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
            if self._is_abandoned:
                words = "abandoned by this program"
                raise TransportError(ErrorKind.CONNECTION_ERROR, words, attempt.sent, attempt.is_whole) from None
            self._close_idle()
            raise explain(
                _cause(error), sent=attempt.sent, is_whole=attempt.is_whole, timeout_seconds=timeout
            ) from error
        finally:
            self._under_way.discard(attempt)

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        """Reads the reply to its end, after which its connection is back in the pool, or closed."""
        assert isinstance(resp, urllib3.HTTPResponse)
        try:
            _current.attempt.watch.replied(resp.status, resp.headers)
            watch = _current.attempt.watch
            pieces = _as_they_come(resp) if watch.takes_body else resp.stream(PIECE, decode_content=False)
            body = read_body(pieces, resp.headers, resp.length_remaining, self._most_bytes, watch)
            if self._is_abandoned and resp.length_remaining is None and not resp.chunked:
                raise http.client.IncompleteRead(b"")
        finally:
            resp.close()  # does nothing to a connection that went back to the pool with the last byte
            resp.release_conn()
        return ReplyResponse(RawReply(resp.status, resp.headers, body))

    def get_connection_with_tls_context(self, *_: object, **__: object) -> Any:
        """The one pool there is."""
        return self._pool

    def cert_verify(self, *_: object) -> None:
        """Nothing: the route's TLS context has the certificates."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        """What the request line asks for."""
        return self._route.target

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """The proxy's password, which so stands in no address that an error could show."""
        authorization = self._route.proxy and self._route.proxy.authorization
        return {"Proxy-Authorization": authorization} if authorization else {}

    def _close_idle(self) -> None:
        """Closes the idle connections, which urllib3's queue holds; each connects anew when it is used."""
        queue = self._pool.pool
        if queue is None:  # closed
            return
        idle = []
        with suppress(Empty):
            while True:
                idle.append(queue.get_nowait())
        for connection in reversed(idle):
            if connection is not None:
                connection.close()
            with suppress(Full):
                queue.put_nowait(connection)

    def close(self) -> None:
        """Closes the idle connections, and each of the others after its attempt; later attempts fail."""
        self._pool.close()
        super().close()

    def abandon(self) -> None:
        """Closes, and ends every attempt under way at once."""
        self._is_abandoned = True
        self.close()
        for attempt in tuple(self._under_way):
            attempt.cut()


def _as_they_come(reply: urllib3.HTTPResponse) -> Iterator[bytes]:
    """The pieces of a body. Of one that is not chunked, `stream` would wait until a piece is full."""
    if reply.chunked:
        yield from reply.stream(PIECE, decode_content=False)
        return
    while piece := reply.read1(PIECE, decode_content=False):
        yield piece


class _Attempt:
    """What a thread is at: until when, over which socket, and how far the request got."""

    def __init__(self, timeout_seconds: float, most_bytes: int, watch: Watch) -> None:
        self.deadline = monotonic() + timeout_seconds
        self.most_bytes = most_bytes
        self.watch = watch
        self.sent = False
        self.is_whole = False
        self._socket: socket.socket | None = None
        self._is_cut = False

    def use(self, sock: socket.socket) -> None:
        """Makes the socket known to `cut` before anything on it can block."""
        self._socket = sock
        if self._is_cut:
            raise ConnectionAbortedError("the connection was cut")

    def cut(self) -> None:
        """From another thread: ends what is under way at once."""
        self._is_cut = True
        if self._socket is not None:
            cut(self._socket)


class _Current(threading.local):
    """urllib3 passes nothing of ours down to a connection, but does all of an attempt in the thread that asked."""

    attempt: _Attempt


_current = _Current()


class _Wire(io.RawIOBase):
    """The bytes of a reply, each read within the deadline, all within the cap."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self.socket = sock
        self._raw = raw
        self._bytes_left = _current.attempt.most_bytes + WIRE_ALLOWANCE
        self.has_ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.has_ended:
            return 0
        attempt = _current.attempt
        seconds, patience = remaining(attempt.deadline), attempt.watch.patience
        self.socket.settimeout(min(seconds, patience))
        try:
            count = self._raw.readinto(buffer) or 0
        except TimeoutError as error:
            raise silent(patience) if patience < seconds and error.errno is None else error from None
        self.has_ended = count == 0
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise too_large(attempt.most_bytes)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Reader(io.BufferedReader):
    """Ends the connection where more came than the reply, so that the pool finds it stale."""

    def __init__(self, wire: _Wire) -> None:
        super().__init__(wire)
        self._wire = wire

    def close(self) -> None:
        if not self.closed:
            self._wire.has_ended = True  # what is left to see came in with the reply
            if self.peek():
                cut(self._wire.socket)
        super().close()


class _Reply(http.client.HTTPResponse):
    """http.client's reader, which by itself would take an interim reply, or half a head, for the reply."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._wire = _Wire(sock, self.fp.detach())
        self.fp = _Reader(self._wire)

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment] # else it takes the head as read
            super().begin()
        if self._wire.has_ended:
            raise http.client.IncompleteRead(b"")
        assert_header_parsing(self.msg)
        if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.will_close = True


class _Connection(HTTPConnection):
    """A connection of urllib3's that is at whatever attempt its thread is at."""

    response_class = _Reply

    @property
    def timeout(self) -> float:
        """Seconds that are left of the attempt, whatever urllib3 sets."""
        return remaining(_current.attempt.deadline)

    @timeout.setter
    def timeout(self, value: object) -> None:
        pass

    def _new_conn(self) -> socket.socket:
        attempt = _current.attempt
        try:
            return connect(self._dns_host, self.port, attempt.deadline, attempt.use)
        except OSError as error:  # bare, urllib3 might take it for one amid the request, and look for a reply
            raise NewConnectionError(self, "no connection") from error

    def request(self, *arguments: Any, **options: Any) -> None:
        """Sends one request, and notes whether any of it, and all of it, went out."""
        if self.sock is None:
            self.connect()
        attempt = _current.attempt
        attempt.use(self.sock)
        attempt.watch.sending()
        attempt.sent = True
        super().request(*arguments, **options)
        attempt.is_whole = True
        attempt.watch.sent()

    def send(self, data: Any) -> None:
        """Sends bytes, for nothing else comes here; urllib3 would let a server that reads slowly take any time."""
        rest = memoryview(data)
        while rest:
            self.sock.settimeout(self.timeout)
            rest = rest[self.sock.send(rest[:SEND_PIECE]) :]


class _SecureConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        """Connects, through the proxy's tunnel where there is one, and agrees on TLS."""
        try:
            super().connect()
        except TransportError:
            raise ConnectionError("the proxy's reply is too large") from None
        except OSError as error:
            if refused := _REFUSED_TUNNEL.match(str(error)):
                raise ConnectionError(f"the proxy refused the tunnel with status {refused[1]}") from None
            raise


class _SecureSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        """Agrees on TLS. The connection does not know this socket before that is done, so it makes itself known."""
        attempt = _current.attempt
        attempt.use(self)
        self.settimeout(remaining(attempt.deadline))
        super().do_handshake(block)


def _cause(error: Exception) -> Exception:
    """What happened first: each that urllib3 and requests raise is raised while the one before is handled."""
    while isinstance(error.__context__, Exception) and (error.__cause__ or not error.__suppress_context__):
        error = error.__context__
    return ConnectionAbortedError("the transport is closed") if isinstance(error, ClosedPoolError) else error
