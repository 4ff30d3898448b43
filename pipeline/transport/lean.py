"""The lean transport: keep-alive connections on one loop, with a deadline and a size limit for each attempt."""

from __future__ import annotations

import http.client
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import monotonic

from pipeline.errors import ErrorKind
from pipeline.transport.burst import Burst
from pipeline.transport.connection import Connection
from pipeline.transport.loop import Loop, Routine
from pipeline.transport.names import Host
from pipeline.transport.reply import AttemptHooks, Bounds, Outcome, Postponed, TransportError, explain
from pipeline.transport.request_body import RequestBody
from pipeline.transport.route import Route


class LeanBackend:
    """Sends over one route, all in the thread of the loop.

    Idle connections are reused last in, first out, so that few grow stale.
    """

    def __init__(
        self,
        loop: Loop,
        route: Route,
        headers: Mapping[str, str],
        bounds: Bounds,
    ) -> None:
        self._loop = loop
        self._route = route
        self._head = _head(route, headers)
        self.slots = bounds.connections
        self._timeout_seconds = bounds.timeout_seconds
        self._most_bytes = bounds.most_bytes
        near = route.proxy or route
        self._host = Host(loop, near.host, near.port)
        self._idle: dict[Connection, None] = {}
        self._under_way: dict[_Attempt, None] = {}
        self._waiting: deque[Callable[[], None]] = deque()
        self._has_timer = False
        self._is_closed = False
        self._is_abandoned = False

    def burst(self, size: int) -> Burst | None:
        """Return what to start `size` attempts with; None if others are in flight."""
        return Burst(self._loop, min(size, self.slots)) if size > 1 and not self._under_way else None

    def start(
        self, body: RequestBody, hooks: AttemptHooks, done: Callable[[Outcome], None], burst: Burst | None
    ) -> None:
        """Begin an attempt, once fewer than `slots` are in flight; `done` gets the outcome."""
        if len(self._under_way) >= self.slots:
            self._waiting.append(partial(self.start, body, hooks, done, burst))
            return
        attempt = _Attempt(monotonic() + self._timeout_seconds, burst)
        self._under_way[attempt] = None
        attempt.routine = Routine(self._run(attempt, self._message(body), hooks), done)
        attempt.routine.resume()
        self._set_timer()

    def close(self) -> None:
        """Close idle connections now, and the others after their attempts. Later attempts fail."""
        self._is_closed = True
        self._close_idle()

    def abandon(self) -> None:
        """Close, and end every attempt in flight at once."""
        self._is_abandoned = True
        self.close()
        for attempt in list(self._under_way):
            attempt.end(ConnectionAbortedError())
        self._begin_waiting()

    async def _run(self, attempt: _Attempt, message: Iterator[bytes], hooks: AttemptHooks) -> Outcome:
        connection = None
        sent = False
        try:
            if self._is_closed:
                raise ConnectionAbortedError("the transport is closed")
            if hooks.new_connection:
                self._close_idle()
            connection = self._take()
            if connection is None:
                connection = Connection(self._loop, self._route, self._on_idle_data)
                await connection.open(self._host, attempt.deadline)
            await attempt.wait_for_burst()
            hooks.on_send()
            sent = True
            exchange = connection.exchange(message, self._most_bytes, hooks)
            del message  # it may be large, and the reply may take minutes
            return await exchange
        except (Postponed, TransportError) as error:
            return error
        except (OSError, http.client.HTTPException, ValueError) as error:
            has_sent = connection is not None and sent and connection.has_sent
            if self._is_abandoned:
                return TransportError(ErrorKind.CONNECTION_ERROR, "abandoned by this program", sent, has_sent)
            self._close_idle()  # they may have ended for the same reason, and each would cost an attempt
            return explain(error, sent=sent, sent_in_full=has_sent, timeout_seconds=self._timeout_seconds)
        finally:
            self._under_way.pop(attempt, None)
            attempt.leave_burst()
            if connection is not None:
                self._give_back(connection)
            if self._waiting:
                self._loop.call(self._begin_waiting)

    def _message(self, body: RequestBody) -> Iterator[bytes]:
        """Yield the bytes of a request; its head goes out together with what comes first."""
        head = b"%b%d\r\n\r\n" % (self._head, len(body))
        if isinstance(body, bytes):
            yield head + body
            return
        for piece in body:
            yield head + piece
            head = b""

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._under_way) < self.slots:
            self._waiting.popleft()()

    def _take(self) -> Connection | None:
        """Return the idle connection that was used last and is neither closed nor has unexpected data."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_quiet():
                connection.has_sent = False
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection) -> None:
        if connection.is_reusable and len(self._idle) < self.slots and not self._is_closed:
            self._idle[connection] = None
        else:
            connection.close()

    def _on_idle_data(self, connection: Connection) -> None:
        if connection in self._idle and not connection.is_quiet():
            del self._idle[connection]
            connection.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.popitem()[0].close()

    def _set_timer(self) -> None:
        """Set a timer for the first deadline. All attempts have the same time-out, so the oldest is the first."""
        first = next(iter(self._under_way), None)
        if first is not None and not self._has_timer:
            self._has_timer = True
            self._loop.at(first.deadline, self._end_late)

    def _end_late(self) -> None:
        self._has_timer = False
        now = monotonic()
        for attempt in list(self._under_way):
            if attempt.deadline > now:
                break
            attempt.end(TimeoutError())
        self._set_timer()


class _Attempt:
    """The deadline of an attempt, how to end it earlier, and the burst that it waits for."""

    __slots__ = ("_burst", "deadline", "routine")

    def __init__(self, deadline: float, burst: Burst | None) -> None:
        self.deadline = deadline
        self._burst = burst
        self.routine: Routine[Outcome] | None = None

    def end(self, error: OSError) -> None:
        """Make it fail now."""
        if self.routine is not None:
            self.routine.throw(error)

    async def wait_for_burst(self) -> None:
        """Wait for the rest of the burst, if there is one."""
        burst, self._burst = self._burst, None
        if burst is not None:
            await burst.wait()

    def leave_burst(self) -> None:
        """Let no other attempt wait for this one."""
        burst, self._burst = self._burst, None
        if burst is not None:
            burst.arrive()


def _head(route: Route, headers: Mapping[str, str]) -> bytes:
    """Return the request as sent, up to the value of Content-Length."""
    lines = [f"POST {route.target} HTTP/1.1", f"Host: {route.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if route.proxy is not None and route.tls is None and route.proxy.authorization:
        lines.append(f"Proxy-Authorization: {route.proxy.authorization}")
    lines.append("Content-Length: ")
    return "\r\n".join(lines).encode("latin-1")
