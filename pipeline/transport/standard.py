"""The standard transport: a Session of `requests` with its stock adapter, in a thread for each request.

It is for what the lean transport does not support: SOCKS and https:// proxies, and gateways that work only with what
`requests` itself sends. The stock adapter blocks, has no deadline for a whole attempt, and does not tell how much of a
request was sent. So the loop ends attempts at their deadline, and each connection, once it is made, asks whether its
request may still be sent.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.util.response import assert_header_parsing

from pipeline.errors import ErrorKind, PipelineError
from pipeline.transport.body import Body
from pipeline.transport.burst import ThreadBurst
from pipeline.transport.loop import LONGEST_WAIT, Loop, Timer
from pipeline.transport.reply import (
    AttemptHooks,
    Bounds,
    Outcome,
    Postponed,
    RawReply,
    TransportError,
    explain,
    idle_timeout,
)
from pipeline.transport.request_body import RequestBody
from pipeline.transport.route import certificates, find_proxy, tls_context
from pipeline.transport.session import Payload, StockSession, first_cause, pieces_of
from pipeline.transport.target import Target

MOST_THREADS = 256
"""The most requests that one process has in flight."""

_FIRST_FINAL_STATUS = 200

Done = Callable[[Outcome], None]


class StandardBackend:
    """Sends from threads. All methods but those that the threads run belong to the thread of the loop."""

    def __init__(self, loop: Loop, target: Target, bounds: Bounds) -> None:
        self._loop = loop
        self._request = requests.PreparedRequest()
        self._request.prepare_method("POST")
        self._request.prepare_url(target.url, None)
        self._request.prepare_headers(target.headers)
        self._timeout_seconds = bounds.timeout_seconds
        self._most_bytes = bounds.most_bytes
        self.slots = min(bounds.connections, MOST_THREADS)
        """The maximum number of attempts in flight; lowered if the system starts no more threads."""
        proxy = find_proxy(target.url, standard=True)
        self._proxies = {"all": proxy.geturl()} if proxy else {}
        self._certificates = certificates()
        if "https" in (urlsplit(target.url).scheme, proxy and proxy.scheme):
            tls_context()  # otherwise unreadable certificates would fail every attempt
        self._session = StockSession(self.slots)
        self._work: SimpleQueue[tuple[_Attempt, RequestBody] | None] = SimpleQueue()
        self._threads = 0
        self._under_way: set[_Attempt] = set()
        self._waiting: deque[tuple[RequestBody, AttemptHooks, Done, ThreadBurst | None]] = deque()
        self._is_closed = False

    def burst(self, size: int) -> ThreadBurst | None:
        """Return what to start `size` attempts with; None if others are in flight."""
        return ThreadBurst(min(size, self.slots)) if size > 1 and not self._under_way else None

    def start(self, body: RequestBody, hooks: AttemptHooks, done: Done, burst: ThreadBurst | None) -> None:
        """Begin an attempt, once fewer than `slots` are in flight; `done` gets the outcome.

        Raises PipelineError if the system does not start a single thread.
        """
        if self._is_closed:
            done(TransportError(ErrorKind.CONNECTION_ERROR, "the transport is closed", False, False))
        elif len(self._under_way) >= self.slots or not self._begin(body, hooks, done, burst):
            self._waiting.append((body, hooks, done, burst))

    def close(self) -> None:
        """Close idle connections now, and the others after their attempts. Later attempts fail."""
        self._is_closed = True
        self._session.close()

    def abandon(self) -> None:
        """Close, and end every attempt in flight at once."""
        self.close()
        for attempt in tuple(self._under_way):
            self._end(attempt, ConnectionAbortedError("abandoned by this program"))
        while self._waiting:
            self.start(*self._waiting.popleft())
        for _ in range(self._threads):
            self._work.put(None)

    def _begin(self, body: RequestBody, hooks: AttemptHooks, done: Done, burst: ThreadBurst | None) -> bool:
        if len(self._under_way) == self._threads and not self._start_thread():
            return False
        attempt = _Attempt(hooks, done, burst, monotonic() + min(self._timeout_seconds, LONGEST_WAIT))
        attempt.timer = self._loop.at(attempt.deadline, partial(self._end, attempt, TimeoutError()))
        self._under_way.add(attempt)
        self._work.put((attempt, body))
        return True

    def _start_thread(self) -> bool:
        try:
            # A daemon thread: a request that hangs in the resolver must not keep the program from exiting.
            threading.Thread(target=self._run, name="sender", daemon=True).start()
        except RuntimeError as error:
            if not self._threads:
                raise PipelineError(
                    "the system starts no thread to send from: raise the limit on processes (ulimit -u), memory"
                    " (ulimit -v) or the container's pids"
                ) from error
            self.slots = self._threads
            return False
        self._threads += 1
        return True

    def _end(self, attempt: _Attempt, error: OSError) -> None:
        """Make an attempt fail now. Its thread finishes later and is not waited for."""
        if attempt.end():
            attempt.abort()
            # The last byte may be out although the thread has not noted it yet.
            attempt.done(self._error(error, sent=attempt.sent, sent_in_full=attempt.sent))

    def _returned(self, attempt: _Attempt, outcome: Outcome | BaseException) -> None:
        self._under_way.discard(attempt)
        if attempt.timer is not None:
            attempt.timer.cancel()
        if isinstance(outcome, BaseException) and not isinstance(outcome, TransportError | Postponed):
            raise outcome
        if attempt.end():
            attempt.done(outcome)
        if self._waiting:
            self.start(*self._waiting.popleft())

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            attempt, body = work
            try:
                outcome: Outcome | BaseException = self._post(attempt, body)
            except BaseException as error:
                outcome = error
            if attempt.burst is not None:
                attempt.burst.arrive()
            self._loop.call(partial(self._returned, attempt, outcome))

    def _post(self, attempt: _Attempt, body: RequestBody) -> RawReply:
        request = self._request.copy()
        request.body = Payload(body)
        request.body.hooks = attempt
        request.headers["Content-Length"] = str(len(body))
        left = max(0.001, attempt.deadline - monotonic())  # the loop ends it when the deadline has passed
        if attempt.hooks.new_connection:
            self._session.close()  # closes idle connections; the session remains usable
        try:
            with self._session.send(
                request,
                stream=True,
                timeout=(left, min(left, attempt.hooks.idle_seconds)),
                verify=self._certificates,
                proxies=self._proxies,
                allow_redirects=False,
            ) as response:
                return self._read(response.raw, attempt)
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError) as error:
            self._session.close()  # idle connections may have ended for the same reason
            cause = first_cause(error)
            if attempt.fell_silent(cause):
                raise idle_timeout(attempt.hooks.idle_seconds) from error
            raise self._error(cause, sent=attempt.sent, sent_in_full=attempt.sent_in_full) from error

    def _read(self, reply: urllib3.HTTPResponse, attempt: _Attempt) -> RawReply:
        if reply.status < _FIRST_FINAL_STATUS:  # http.client takes it for the final reply, which is still to come
            message = f"HTTP {reply.status}, which is no final reply"
            raise TransportError(ErrorKind.CONNECTION_ERROR, message, True, True)
        # A malformed header line hides those after it, such as Retry-After. urllib3 only logs that.
        assert_header_parsing(reply._original_response.msg)  # type: ignore[union-attr]
        attempt.tell(attempt.hooks.on_headers, reply.status, reply.headers)
        body = Body(reply.headers, reply.length_remaining, self._most_bytes, attempt.hooks)
        for piece in pieces_of(reply):
            attempt.tell(body.feed, piece)
        return RawReply(reply.status, reply.headers, body.complete())

    def _error(self, error: Exception, *, sent: bool, sent_in_full: bool) -> TransportError:
        return explain(error, sent=sent, sent_in_full=sent_in_full, timeout_seconds=self._timeout_seconds)


class _Attempt:
    """One attempt, shared by the loop and the thread that makes it."""

    def __init__(self, hooks: AttemptHooks, done: Done, burst: ThreadBurst | None, deadline: float) -> None:
        self.hooks = hooks
        self.done = done
        self.burst = burst
        self.deadline = deadline
        self.timer: Timer | None = None
        self.sent = False
        self.sent_in_full = False
        self._socket: Any = None
        self._idle_seconds = hooks.idle_seconds
        self._is_over = False
        self._lock = threading.Lock()

    def end(self) -> bool:
        """Prevent anything further of it; return whether it was still in flight."""
        with self._lock:
            was_over, self._is_over = self._is_over, True
        return not was_over

    def abort(self) -> None:
        """End what its thread is waiting for."""
        # SSLSocket.shutdown would also drop TLS, and the thread would read ciphertext as the reply.
        with suppress(OSError):
            if self._socket is not None:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def tell(self, step: Callable[..., None], *arguments: Any) -> None:
        """Run a step of the thread unless the attempt has ended, and apply a change of `idle_seconds`.

        Raises Postponed if it has ended; that outcome is ignored.
        """
        with self._lock:
            if self._is_over:
                raise Postponed
            step(*arguments)
            if self._idle_seconds != self.hooks.idle_seconds:
                self._idle_seconds = self.hooks.idle_seconds
                with suppress(OSError):  # it may be closed after the last bytes
                    self._socket.settimeout(min(self._idle_seconds, LONGEST_WAIT))

    def on_send(self, connected: Any) -> None:
        """Begin to send over a connected socket. Raises Postponed if nothing may be sent."""
        if self.burst is not None:
            self.burst.connected()
        self.tell(self._begin, connected)

    def on_sent(self) -> None:
        """Record that the request was sent in full."""
        self.sent_in_full = True
        if self.burst is not None:
            self.burst.sent()

    def fell_silent(self, error: Exception) -> bool:
        """Return whether an error means that nothing of the reply arrived for `idle_seconds`."""
        is_timeout = isinstance(error, TimeoutError) and error.errno is None
        return is_timeout and self.sent_in_full and monotonic() < self.deadline

    def _begin(self, connected: Any) -> None:
        self.hooks.on_send()
        self._socket = getattr(connected, "socket", connected)  # the socket below TLS within a proxy's TLS
        self.sent = True
