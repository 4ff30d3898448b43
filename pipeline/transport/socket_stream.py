"""A connected socket on a loop."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from pipeline.transport.loop import READ, WRITE, Gate, Loop

SEND_PIECE = 2**18


class SocketStream:
    """Sends and receives for one routine at a time, in plain text or over TLS.

    `on_idle_data` is called when there is something to read while no routine waits. The loop always watches the socket
    for reading, so a request and its reply need only one system call per piece.
    """

    def __init__(self, loop: Loop, sock: socket.socket, on_idle_data: Callable[[], None]) -> None:
        self._loop = loop
        self._socket = sock
        self._number = sock.fileno()
        self._on_idle_data = on_idle_data
        self._gate = Gate()
        self._events = READ
        loop.watch(self._number, READ, self._ready)

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Negotiate TLS. Raises OSError, ssl.SSLError and ValueError."""
        self._socket = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        while True:
            try:
                return self._socket.do_handshake()
            except ssl.SSLWantReadError:
                await self._until(READ)
            except ssl.SSLWantWriteError:
                await self._until(WRITE)

    async def send(self, message: bytes) -> None:
        """Send all of a message. Raises OSError."""
        rest = memoryview(message)
        while rest:
            try:
                rest = rest[self._socket.send(rest[:SEND_PIECE]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._until(WRITE)
            except ssl.SSLWantReadError:
                await self._until(READ)

    async def receive(self, most: int) -> bytes:
        """Return up to `most` bytes, none at the end of the connection. Raises OSError."""
        if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            await self._until(READ)
        while True:
            try:
                return self._socket.recv(most)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._until(READ)
            except ssl.SSLWantWriteError:
                await self._until(WRITE)

    def is_quiet(self) -> bool:
        """Return whether nothing has arrived on the idle connection: no end of file, reset, or bytes without a request.

        With TLS 1.3 a server sends session tickets unasked (RFC 8446, 4.6.1). They are consumed here.
        """
        try:
            self._socket.recv(1) if isinstance(self._socket, ssl.SSLSocket) else self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def fail(self, error: Exception) -> None:
        """Resume the waiting routine with an error."""
        self._gate.fail(error)

    def close(self) -> None:
        """Close the socket."""
        self._loop.forget(self._number)
        self._socket.close()
        self._number = -1

    async def _until(self, event: int) -> None:
        if self._events != event:
            self._loop.change(self._number, event, self._ready)
            self._events = event
        await self._gate

    def _ready(self, events: int) -> None:
        if self._gate.is_awaited:
            self._gate.open()
        elif self._number >= 0:
            self._on_idle_data()
