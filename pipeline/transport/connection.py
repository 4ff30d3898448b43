"""One keep-alive HTTP/1.1 connection on a loop."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.transport.body import Body
from pipeline.transport.dial import dial
from pipeline.transport.http1 import PIECE, ReplyReader
from pipeline.transport.idle_timer import IdleTimer
from pipeline.transport.reply import WIRE_ALLOWANCE, AttemptHooks, RawReply, TransportError, idle_timeout, too_large
from pipeline.transport.socket_stream import SocketStream

if TYPE_CHECKING:
    from pipeline.transport.loop import Loop
    from pipeline.transport.names import Host
    from pipeline.transport.route import Route


class Connection:
    """A connection over one route, used by one attempt at a time.

    An error thrown into the routine ends what it does at any moment. `on_idle_data` is called when data arrives while
    no attempt uses the connection.
    """

    def __init__(self, loop: Loop, route: Route, on_idle_data: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._route = route
        self._on_idle_data = on_idle_data
        self._wire: SocketStream | None = None
        self._bytes_left = 0
        self._idle_timer = IdleTimer(loop, self._end_idle)
        self.is_reusable = False
        """Whether a request can be sent: the connection is new, or kept alive with its last reply read to the end."""
        self.has_sent = False
        """Whether the last request was sent in full."""

    async def open(self, host: Host, deadline: float) -> None:
        """Connect to `host`, the proxy or the server. Nothing of a request is sent.

        Raises OSError, ssl.SSLError, http.client.HTTPException and ValueError.
        """
        try:
            sock = await dial(self._loop, await host.addresses(), deadline)
        except OSError:
            host.forget()
            raise
        self._wire = SocketStream(self._loop, sock, lambda: self._on_idle_data(self))
        if self._route.tls is not None:
            if self._route.proxy is not None:
                await self._open_tunnel(self._wire)
            await self._wire.start_tls(self._route.tls, self._route.host)
        self.is_reusable = True

    async def exchange(self, message: Iterator[bytes], most_bytes: int, hooks: AttemptHooks) -> RawReply:
        """Send one request in pieces, and read its reply to the end. Raises as `open` does, and TransportError."""
        assert self._wire is not None
        wire = self._wire
        self.is_reusable = False
        refusal = None
        try:
            while piece := next(message, b""):
                await wire.send(piece)
            self.has_sent = True
            del message
        except (ConnectionError, ssl.SSLEOFError) as error:
            refusal = error  # the server may have replied and closed before it had read everything
        try:
            reply = await self._read_head(wire, most_bytes, hooks)
        except OSError as error:
            raise refusal or error from None
        hooks.on_headers(reply.status, reply.headers)
        body = Body(reply.headers, reply.length, most_bytes, hooks)
        for piece in reply.body():
            if piece:
                body.feed(piece)
            else:
                reply.feed(await self._receive(wire, most_bytes, hooks))
        complete = body.complete()
        self.is_reusable = refusal is None and not reply.is_last and not reply.has_more
        return RawReply(reply.status, reply.headers, complete)

    def is_quiet(self) -> bool:
        """Return whether the idle connection is open and nothing has arrived."""
        return self._wire is not None and self._wire.is_quiet()

    def close(self) -> None:
        """Close the socket."""
        self.is_reusable = False
        self._idle_timer.close()
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _open_tunnel(self, wire: SocketStream) -> None:
        route, proxy = self._route, self._route.proxy
        assert proxy is not None
        address = f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"
        head = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
        if proxy.authorization:
            head += f"Proxy-Authorization: {proxy.authorization}\r\n"
        await wire.send(f"{head}\r\n".encode("latin-1"))
        try:
            reply = await self._read_head(wire, 0, AttemptHooks(), to_connect=True)
        except TransportError:
            raise ConnectionError("the proxy's reply is too large") from None
        if reply.status != http.HTTPStatus.OK:
            raise ConnectionError(f"the proxy refused the tunnel with status {reply.status}")

    async def _read_head(
        self, wire: SocketStream, most_bytes: int, hooks: AttemptHooks, *, to_connect: bool = False
    ) -> ReplyReader:
        """Read the headers. The body may have `most_bytes`, plus an allowance for framing."""
        self._bytes_left = most_bytes + WIRE_ALLOWANCE
        reply = ReplyReader(to_connect=to_connect)
        while True:
            reply.feed(await self._receive(wire, most_bytes, hooks))
            if reply.has_head():
                return reply

    async def _receive(self, wire: SocketStream, most_bytes: int, hooks: AttemptHooks) -> bytes:
        self._idle_timer.begin(hooks.idle_seconds)
        data = await wire.receive(PIECE)
        self._idle_timer.over()
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise too_large(most_bytes)
        return data

    def _end_idle(self, seconds: float) -> None:
        if self._wire is not None:
            self._wire.fail(idle_timeout(seconds))
