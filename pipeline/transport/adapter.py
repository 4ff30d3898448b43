"""The `requests` transport adapter: kept connections, one deadline and one size bound for each attempt, no retries."""

from __future__ import annotations

import http.client
from collections import deque
from time import monotonic
from typing import Any

import requests
from requests.adapters import BaseAdapter

from pipeline.errors import ErrorKind
from pipeline.transport.connection import Connection
from pipeline.transport.reply import RawReply, TransportError, Watch, explain
from pipeline.transport.route import Route


class WatchedRequest(requests.PreparedRequest):
    """What the session gives to an adapter: a request with the watch over its attempt."""

    watch: Watch


class ReplyResponse(requests.Response):
    """What an adapter gives to the session: `reply` is complete, and nothing is left to read."""

    def __init__(self, reply: RawReply) -> None:
        super().__init__()
        self.status_code = reply.status
        self.reply = reply


class DeadlineAdapter(BaseAdapter):
    """Sends prepared requests over one route; safe from many threads.

    Idle connections are kept last in, first out, so that as few as possible grow stale. Deque and set operations are
    atomic, so no thread waits for another here.
    """

    def __init__(self, route: Route, *, connections: int, most_bytes: int) -> None:
        super().__init__()
        self._route = route
        self._connections = connections
        self._most_bytes = most_bytes
        self._idle: deque[Connection] = deque()
        self._under_way: set[Connection] = set()
        self._is_closed = False
        self._is_abandoned = False

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> ReplyResponse:
        """One attempt, within `timeout` seconds. The URL, TLS and proxy are the route's.

        Raises TransportError, and HeldBack where the watch says so; the connection is then kept.
        """
        assert isinstance(request, WatchedRequest)
        message = self._message(request)
        deadline = monotonic() + timeout
        if request.watch.fresh:
            self._close_idle()
        connection = self._take()
        self._under_way.add(connection)
        sent = False
        try:
            if self._is_closed:
                raise ConnectionAbortedError("the transport is closed")
            connection.open(deadline)
            request.watch.sending()
            sent = True
            reply = connection.exchange(message, deadline, self._most_bytes, request.watch)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._is_abandoned:
                words = "abandoned by this program"
                raise TransportError(ErrorKind.CONNECTION_ERROR, words, sent, connection.has_sent) from None
            self._close_idle()  # what ended this one may have ended them too, and each would cost an attempt
            raise explain(error, sent=sent, is_whole=connection.has_sent, timeout_seconds=timeout) from error
        finally:
            self._under_way.discard(connection)
            self._give_back(connection)
        return ReplyResponse(reply)

    def _message(self, request: requests.PreparedRequest) -> bytes:
        """The request as it goes over the wire."""
        route = self._route
        lines = [f"POST {route.target} HTTP/1.1", f"Host: {route.authority}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        if route.proxy is not None and route.tls is None and route.proxy.authorization:
            lines.append(f"Proxy-Authorization: {route.proxy.authorization}")
        body = request.body
        assert isinstance(body, bytes)
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        return "\r\n".join(lines).encode("latin-1") + body

    def close(self) -> None:
        """Closes the idle connections, and each of the others after its attempt; later attempts fail."""
        self._is_closed = True
        self._close_idle()

    def abandon(self) -> None:
        """Closes, and ends every attempt under way at once."""
        self._is_abandoned = True
        self.close()
        for connection in tuple(self._under_way):
            connection.cut()

    def _take(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return Connection(self._route)

    def _give_back(self, connection: Connection) -> None:
        if connection.is_reusable and len(self._idle) < self._connections:
            self._idle.append(connection)
        else:
            connection.close()
        if self._is_closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return
