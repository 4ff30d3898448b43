"""One kept HTTP/1.1 connection, every operation of which ends by the attempt's deadline."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from pipeline.transport.body import read_body
from pipeline.transport.http1 import ReplyReader
from pipeline.transport.reply import RawReply, TransportError, Watch, silent, too_large

if TYPE_CHECKING:
    from pipeline.transport.route import Route

LONGEST_WAIT = 1e6
"""Seconds; a socket takes no timeout beyond 24 days."""
SEND_PIECE = 2**18
TIMEOUT_SLACK = 0.01
"""Seconds by which an operation may outlast the deadline."""
WIRE_ALLOWANCE = 2**20
"""Bytes a reply may have on the wire beyond the cap on its body, for its head, chunk sizes and trailers."""


def remaining(deadline: float) -> float:
    """Seconds until `deadline` on the monotonic clock; raises TimeoutError where it has passed."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return min(seconds, LONGEST_WAIT)


def connect(host: str, port: int, deadline: float, use: Callable[[socket.socket], None]) -> socket.socket:
    """A connected socket; `use` gets each socket that is tried before it can block, and again once it is connected.

    Raises OSError, TimeoutError at the deadline, and ValueError for a host name that is none.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            use(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # An address that swallows packets leaves the others their share of the time.
            sock.settimeout(remaining(deadline) / (len(addresses) - index))
            sock.connect(address)
            use(sock)  # a cut before it was connected has ended nothing
            return sock
        except OSError as error:
            failure = error
            if sock is not None:
                sock.close()
    raise failure or ConnectionError("the host has no address")


def cut(sock: socket.socket) -> None:
    """From another thread than the one that uses the socket: ends what is under way on it at once."""
    # SSLSocket's own shutdown also drops TLS, and a thread that reads on would take ciphertext for the reply.
    with contextlib.suppress(OSError):  # not connected, or closed already
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Connection:
    """A connection over one route; used by one thread at a time, apart from `cut`."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._socket: socket.socket | None = None
        self._is_cut = False
        self._allowed = 0.0
        self.is_reusable = False
        """Whether a request can go out: the connection is new, or its last reply was read to the end and it is kept."""
        self.has_sent = False
        """Whether the whole of the last request went out."""

    def open(self, deadline: float) -> None:
        """Connects, unless the kept connection still stands. Nothing of a request is sent.

        Raises OSError, ssl.SSLError, http.client.HTTPException and ValueError, TimeoutError at the deadline.
        """
        self.has_sent = False
        if self._socket is not None:
            if self._is_quiet():
                return
            self.close()  # ended by the server while idle, or out of step
        near = self._route.proxy or self._route
        connect(near.host, near.port, deadline, self._use)
        if self._route.tls is not None:
            if self._route.proxy is not None:
                self._open_tunnel(deadline)
            self._start_tls(self._route.tls, deadline)
        self.is_reusable = True

    def exchange(self, message: bytes, deadline: float, most_bytes: int, watch: Watch) -> RawReply:
        """Sends one whole request and reads the whole reply. Raises as `open` does, and TransportError."""
        self.is_reusable = False
        refusal = None
        try:
            self._send(message, deadline)
            self.has_sent = True
            watch.sent()
        except (ConnectionError, ssl.SSLEOFError) as error:
            refusal = error  # the server may have replied, and hung up, before it had read everything
        try:
            reply = self._read_reply(deadline, most_bytes, watch)
        except OSError as error:
            raise refusal or error from None
        watch.replied(reply.status, reply.headers)
        body = read_body(reply.body(), reply.headers, reply.length, most_bytes, watch)
        if self._is_cut and reply.ends_with_connection:
            raise http.client.IncompleteRead(b"")
        self.is_reusable = refusal is None and not reply.is_last and not reply.has_more
        return RawReply(reply.status, reply.headers, body)

    def cut(self) -> None:
        """From another thread: ends what is under way at once; nothing can be sent afterwards."""
        self._is_cut = True
        sock = self._socket
        if sock is not None:
            cut(sock)

    def close(self) -> None:
        """Closes the socket; `open` may make another."""
        self.is_reusable = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _is_quiet(self) -> bool:
        """Whether nothing has come in on the idle connection: no end of file, no reset, no bytes that nobody asked for.

        With TLS 1.3 a server sends session tickets of its own accord (RFC 8446, 4.6.1); those are taken in here.
        """
        sock = self._socket
        assert sock is not None
        if not _is_readable(sock):
            return True
        if not isinstance(sock, ssl.SSLSocket):
            return False
        self._allowed = 0.0
        sock.settimeout(0.0)
        try:
            sock.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            pass
        return False

    def _use(self, sock: socket.socket) -> None:
        """Makes the socket known to `cut` before anything on it can block."""
        self._socket = sock
        self._allowed = 0.0
        if self._is_cut:
            raise ConnectionAbortedError("the connection was cut")

    def _open_tunnel(self, deadline: float) -> None:
        route, proxy = self._route, self._route.proxy
        assert proxy is not None
        address = f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"
        head = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
        if proxy.authorization:
            head += f"Proxy-Authorization: {proxy.authorization}\r\n"
        self._send(f"{head}\r\n".encode("latin-1"), deadline)
        try:
            reply = self._read_reply(deadline, 0, Watch(), to_connect=True)
        except TransportError:
            raise ConnectionError("the proxy's reply is too large") from None
        if reply.status != http.HTTPStatus.OK:
            raise ConnectionError(f"the proxy refused the tunnel with status {reply.status}")

    def _start_tls(self, tls: ssl.SSLContext, deadline: float) -> None:
        assert self._socket is not None
        # The handshake is a step of its own, for until then `cut` would not know the new socket.
        secured = tls.wrap_socket(self._socket, server_hostname=self._route.host, do_handshake_on_connect=False)
        self._use(secured)
        secured.settimeout(remaining(deadline))
        secured.do_handshake()

    def _send(self, message: bytes, deadline: float) -> None:
        assert self._socket is not None
        rest = memoryview(message)
        while rest:
            self._allow_until(deadline)
            rest = rest[self._socket.send(rest[:SEND_PIECE]) :]

    def _read_reply(self, deadline: float, most_bytes: int, watch: Watch, *, to_connect: bool = False) -> ReplyReader:
        """Reads the head; the body follows by the same deadline, and within `most_bytes` in all."""
        sock = self._socket
        assert sock is not None
        bytes_left = most_bytes + WIRE_ALLOWANCE

        def receive(most: int) -> bytes:
            nonlocal bytes_left
            patience = watch.patience
            silent_at = monotonic() + patience
            self._allow_until(min(deadline, silent_at))  # at each read, so that dripping bytes gain no time
            try:
                data = sock.recv(most)
            except TimeoutError as error:
                raise silent(patience) if silent_at < deadline and error.errno is None else error from None
            bytes_left -= len(data)
            if bytes_left < 0:
                raise too_large(most_bytes)
            return data

        return ReplyReader(receive, to_connect=to_connect)

    def _allow_until(self, deadline: float) -> None:
        """Lets the next operation on the socket take what is left of the attempt."""
        assert self._socket is not None
        seconds = remaining(deadline)
        if abs(seconds - self._allowed) > TIMEOUT_SLACK:  # each change is a system call
            self._socket.settimeout(seconds)
            self._allowed = seconds


def _is_readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: an end of file, a reset, or bytes nobody asked for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
