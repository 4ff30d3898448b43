"""One kept HTTP/1.1 connection, every operation of which ends by the attempt's deadline."""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import ssl
from time import monotonic
from typing import TYPE_CHECKING, cast

from requests.structures import CaseInsensitiveDict

from pipeline.transport.body import read_body
from pipeline.transport.reply import RawReply, TransportError, too_large

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from pipeline.transport.route import Route

LONGEST_WAIT = 1e6
"""Seconds; a socket takes no timeout beyond 24 days."""
SEND_PIECE = 2**18
READ_BUFFER = 2**14
WIRE_ALLOWANCE = 2**20
"""Bytes a reply may have on the wire beyond the cap on its body, for its head, chunk sizes and trailers."""


def remaining(deadline: float) -> float:
    """Seconds until `deadline` on the monotonic clock; raises TimeoutError where it has passed."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return min(seconds, LONGEST_WAIT)


class _Stream(io.RawIOBase):
    """What http.client reads a reply from: a socket with one deadline and one bound for all reads together."""

    def __init__(self, sock: socket.socket, deadline: float, most_bytes: int) -> None:
        self._socket = sock
        self._deadline = deadline
        self._most_bytes = most_bytes
        self._bytes_left = most_bytes + WIRE_ALLOWANCE
        self.has_ended = False
        """Whether the server has ended the connection."""

    def makefile(self, mode: str) -> io.BufferedReader:
        """The one thing http.client asks of a socket."""
        return io.BufferedReader(self, READ_BUFFER)

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """One read; the socket's timeout is what is left of the attempt, so that dripping bytes gain no time."""
        self._socket.settimeout(remaining(self._deadline))
        count = self._socket.recv_into(buffer)
        self.has_ended = count == 0
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise too_large(self._most_bytes)
        return count


class _Response(http.client.HTTPResponse):
    """Reads past every interim reply.

    http.client skips only status 100; taking a 102 or 103 for the answer would leave the real one on the connection,
    to be read as the next request's.
    """

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = cast(http.client.HTTPMessage, None)  # makes begin() read another head
            super().begin()


class Connection:
    """A connection over one route; used by one thread at a time, apart from `cut`."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._socket: socket.socket | None = None
        self._is_cut = False
        self.is_reusable = False
        """Whether the last reply was read to its end and the server keeps the connection."""
        self.has_sent = False
        """Whether the whole of the last request went out."""

    def open(self, deadline: float) -> None:
        """Connects, unless the kept connection still stands. Nothing of a request is sent.

        Raises OSError, ssl.SSLError, http.client.HTTPException and ValueError, TimeoutError at the deadline.
        """
        self.has_sent = False
        if self._socket is not None:
            if not _is_readable(self._socket):
                return
            self.close()  # ended by the server while idle, or out of step
        self._connect(deadline)
        if self._route.tls is not None:
            if self._route.proxy is not None:
                self._open_tunnel(deadline)
            self._start_tls(self._route.tls, deadline)

    def exchange(self, message: bytes, deadline: float, most_bytes: int) -> RawReply:
        """Sends one whole request and reads the whole reply. Raises as `open` does, and TransportError."""
        self.is_reusable = False
        refusal = None
        try:
            self._send(message, deadline)
            self.has_sent = True
        except (ConnectionError, ssl.SSLEOFError) as error:
            refusal = error  # the server may have replied, and hung up, before it had read everything
        try:
            response = self._read_head("POST", deadline, most_bytes)
        except OSError as error:
            raise refusal or error from None
        try:
            ends_with_connection = response.length is None and not response.chunked
            body = read_body(response, most_bytes)
            if self._is_cut and ends_with_connection:
                raise http.client.IncompleteRead(b"")
            headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
            for name, value in response.headers.items():
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            is_final = response.status != http.HTTPStatus.SWITCHING_PROTOCOLS
            self.is_reusable = is_final and refusal is None and not response.will_close
            return RawReply(response.status, headers, body)
        finally:
            response.close()

    def cut(self) -> None:
        """From another thread: ends what is under way at once; nothing can be sent afterwards."""
        self._is_cut = True
        sock = self._socket
        if sock is not None:
            # SSLSocket's own shutdown also drops TLS, and a thread that reads on would take ciphertext for the reply.
            with contextlib.suppress(OSError):  # not connected, or closed already
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the socket; `open` may make another."""
        self.is_reusable = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _use(self, sock: socket.socket) -> None:
        """Makes the socket known to `cut` before anything on it can block."""
        self._socket = sock
        if self._is_cut:
            raise ConnectionAbortedError("the connection was cut")

    def _connect(self, deadline: float) -> None:
        near = self._route.proxy or self._route
        addresses = socket.getaddrinfo(near.host, near.port, type=socket.SOCK_STREAM)
        failure: OSError | None = None
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            try:
                self._use(socket.socket(family, kind, protocol))
                assert self._socket is not None
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # An address that swallows packets leaves the others their share of the time.
                self._socket.settimeout(remaining(deadline) / (len(addresses) - index))
                self._socket.connect(address)
                return
            except OSError as error:
                failure = error
                self.close()
        raise failure or ConnectionError("the host has no address")

    def _open_tunnel(self, deadline: float) -> None:
        route, proxy = self._route, self._route.proxy
        assert proxy is not None
        address = f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"
        head = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
        if proxy.authorization:
            head += f"Proxy-Authorization: {proxy.authorization}\r\n"
        self._send(f"{head}\r\n".encode("latin-1"), deadline)
        try:
            response = self._read_head("CONNECT", deadline, 0)
        except TransportError:
            raise ConnectionError("the proxy's reply is too large") from None
        response.close()
        if response.status != http.HTTPStatus.OK:
            raise ConnectionError(f"the proxy refused the tunnel with status {response.status}")

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
            self._socket.settimeout(remaining(deadline))
            rest = rest[self._socket.send(rest[:SEND_PIECE]) :]

    def _read_head(self, method: str, deadline: float, most_bytes: int) -> http.client.HTTPResponse:
        assert self._socket is not None
        stream = _Stream(self._socket, deadline, most_bytes)
        response = _Response(cast(socket.socket, stream), method=method)
        try:
            response.begin()
            if stream.has_ended:  # http.client takes a head that was cut off for a whole one
                raise http.client.IncompleteRead(b"")
        except BaseException:
            response.close()
            raise
        return response


def _is_readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: an end of file, a reset, or bytes nobody asked for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
