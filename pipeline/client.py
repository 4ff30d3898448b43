"""One attempt: a request goes out, and one typed result comes back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from msgspec import Struct

from pipeline.errors import ErrorKind
from pipeline.limits import Pause
from pipeline.providers import Endpoint
from pipeline.providers.documents import decode
from pipeline.providers.stream import Assembly
from pipeline.records import Failure, Reply, Request
from pipeline.redaction import Redaction
from pipeline.retry import asked_wait
from pipeline.transport import AttemptHooks, JsonBodies, Loop, Outcome, Postponed, Transport, TransportError

MAX_REPLY_BYTES = 2**20
_FIRST_REFUSAL = 300
_FIRST_SERVER_ERROR = 500
_AT_ONCE_SECONDS = 1.0
"""An answer that is billed takes longer to begin, and a request that timed out much longer."""


class Task(Struct, frozen=True):
    """A request to send, with the number of its claim.

    After `send_by` (monotonic seconds) it is not sent, because it would count in another minute than the one that
    admitted it. With `fresh` it uses a new connection.
    """

    number: int
    request: Request
    send_by: float = math.inf
    fresh: bool = False
    server: int = 0
    """The number of the server that it goes to."""


class Attempt(NamedTuple):
    """The outcome of a task.

    `result` is None if nothing was sent: the endpoint had asked for a pause, or connecting took too long. Timestamps
    are Unix seconds. `latency` is in seconds from the first byte sent to the last byte read, `since_head` from the
    reply's headers to its end.
    """

    number: int
    result: Reply | Failure | None
    started_at: float
    finished_at: float
    latency: float
    since_head: float = 0.0
    reply: str | None = None
    """The reply as it came, without secrets and shortened to MAX_REPLY_BYTES, where the client keeps it."""


class _Hooks(AttemptHooks):
    """Checks the pause again once the connection is made, and applies what the reply's headers say at once.

    The body may take minutes, and meanwhile other senders would continue.
    """

    def __init__(
        self, endpoint: Endpoint, pause: Pause, task: Task, clock: Callable[[], float], idle_seconds: float
    ) -> None:
        self.number = task.number
        self.new_connection = task.fresh
        self.idle_seconds = idle_seconds
        self.endpoint = endpoint
        self.clock = clock
        self.begun = clock()
        self._pause = pause
        self._send_by = task.send_by
        self._server = task.server
        self.sent_at: float | None = None
        self.replied_at: float | None = None
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.retry_after: float | None = None
        self.assembly: Assembly | None = None
        self.reply: str | None = None

    def on_send(self) -> None:
        now = self.clock()
        if now < self._pause.of(self._server) or now > self._send_by:
            raise Postponed
        self.sent_at = now

    def on_headers(self, status: int, headers: Mapping[str, str]) -> None:
        self.replied_at = self.clock()
        self.status, self.headers = status, headers
        self.retry_after = asked_wait(status, headers, datetime.now(UTC))
        if self.retry_after is not None:
            self._pause.extend(self.replied_at + self.retry_after, self._server)
        self.assembly = self.endpoint.assembly(status, headers)
        self.streams_body = self.assembly is not None

    def on_data(self, piece: bytes) -> None:
        assert self.assembly is not None
        self.assembly.feed(piece)
        if self.assembly.patience is not None:
            self.idle_seconds = min(self.idle_seconds, self.assembly.patience)


class Client:
    """Sends tasks to one endpoint, many at a time, in the thread that runs `loop`; `abandon` is safe from any thread.

    An attempt ends if nothing of the reply arrives for `idle_seconds`. For several equal servers, `others` are the
    transports besides the first, on the same loop. `by_model` maps models whose replies are parsed differently to their
    endpoint. With `keeps_replies` an attempt includes its raw reply.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        pause: Pause,
        redaction: Redaction,
        idle_seconds: float = math.inf,
        others: Sequence[Transport] = (),
        by_model: Mapping[str, Endpoint] | None = None,
        *,
        keeps_replies: bool = False,
    ) -> None:
        self._keeps_replies = keeps_replies
        self._idle_seconds = idle_seconds
        self._endpoint = endpoint
        self._by_model = by_model or {}
        self._transports = (transport, *others)
        self._pause = pause
        self._bodies = JsonBodies()
        # An endpoint may echo the key in an error or an answer. It must not reach the journal.
        self._redaction = redaction

    @property
    def loop(self) -> Loop:
        """The loop that must run for attempts to finish."""
        return self._transports[0].loop

    @property
    def slots(self) -> int:
        """The maximum number of attempts in flight."""
        return min(transport.slots for transport in self._transports)

    def start(
        self, tasks: Sequence[Task], done: Callable[[Attempt], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to send tasks; `done` gets the typed result of each, in an iteration of the loop or at once.

        Tasks that arrive while none is in flight, as at the start and after a pause, go out together, unless a rate
        paces them. Raises nothing that the endpoint or the network can cause.
        """
        for server, transport in enumerate(self._transports):
            theirs = [task for task in tasks if task.server == server]
            if theirs:
                self._start(theirs, server, transport, done, clock)

    def _start(
        self,
        tasks: Sequence[Task],
        server: int,
        transport: Transport,
        done: Callable[[Attempt], None],
        clock: Callable[[], float],
    ) -> None:
        # A task that a rate admitted is not delayed: it would come too close to the next one.
        is_paced = any(task.send_by < math.inf for task in tasks)
        burst = None if is_paced else transport.burst(len(tasks))
        for task in tasks:
            endpoint = self._by_model.get(task.request.model, self._endpoint)
            hooks = _Hooks(endpoint, self._pause, task, clock, self._idle_seconds)
            if hooks.begun < self._pause.of(server):
                if burst is not None:
                    burst.arrive()
                done(self._ended(hooks, Postponed()))
                continue
            body = self._bodies.of(endpoint.payload(task.request))
            transport.start(body, hooks, partial(self._end, hooks, done), burst)

    def attempt(self, task: Task, clock: Callable[[], float] = time.monotonic) -> Attempt:
        """Send one task, with nothing else on the loop, and wait for its typed result."""
        attempts: list[Attempt] = []
        self.start([task], attempts.append, clock)
        while not attempts:
            self.loop.turn(math.inf)
        return attempts[0]

    def _end(self, hooks: _Hooks, done: Callable[[Attempt], None], outcome: Outcome) -> None:
        done(self._ended(hooks, outcome))

    def _ended(self, hooks: _Hooks, outcome: Outcome) -> Attempt:
        end, finished_at = hooks.clock(), time.time()
        if isinstance(outcome, Postponed):
            return Attempt(hooks.number, None, finished_at, finished_at, 0.0)
        latency = end - (hooks.begun if hooks.sent_at is None else hooks.sent_at)
        result: Reply | Failure
        if isinstance(outcome, TransportError):
            result = self._assembled(hooks, outcome) or self._broken(outcome, hooks)
        else:
            result = self._assembled(hooks, None) or self._parsed(hooks, outcome.status, outcome.headers, outcome.body)
            is_at_once = not outcome.body and latency < _AT_ONCE_SECONDS
            if isinstance(result, Failure) and is_at_once and outcome.status in hooks.endpoint.turned_away:
                result = result._replace(kind=ErrorKind.OUT_OF_CAPACITY, possibly_billed=False)
        if hooks.retry_after is not None:
            result = result._replace(retry_after=hooks.retry_after)
        since_head = 0.0 if hooks.replied_at is None else end - hooks.replied_at
        return Attempt(hooks.number, result, finished_at - latency, finished_at, latency, since_head, hooks.reply)

    def _parsed(self, hooks: _Hooks, status: int, headers: Mapping[str, str], body: bytes) -> Reply | Failure:
        body = self._redaction.clean(body)
        if self._keeps_replies and body:
            hooks.reply = shortened(decode(headers, body))
        return hooks.endpoint.parse(status, headers, body)

    def _assembled(self, hooks: _Hooks, error: TransportError | None) -> Reply | Failure | None:
        """Return what a stream of events came to; None where there was none, or the error interrupted it."""
        assembly = hooks.assembly
        if assembly is None or hooks.status is None:
            return None
        assembly.end()
        if not assembly.has_ended:
            words = "the stream was cut off: it ended without [DONE] and without a finish_reason"
            return None if error else Failure(ErrorKind.CONNECTION_ERROR, words, possibly_billed=True)
        if not assembly.is_readable:
            words = f"HTTP {hooks.status}: an event of the stream is no JSON object"
            return Failure(ErrorKind.INVALID_REPLY, words, http_status=hooks.status, possibly_billed=True)
        # Redact after joining: a key may be spread over many events.
        result = self._parsed(hooks, hooks.status, {}, assembly.body())
        if assembly.has_failed and isinstance(result, Failure) and result.usage is None:
            return result._replace(possibly_billed=assembly.has_words)
        return result

    def _broken(self, error: TransportError, hooks: _Hooks) -> Failure:
        """Return what an attempt without a complete reply came to: a status that refuses the request still counts."""
        sent_in_full = error.sent_in_full and error.kind is not ErrorKind.TLS_ERROR
        if hooks.status is None or hooks.status < _FIRST_REFUSAL:
            return Failure(error.kind, error.message, sent=error.sent, possibly_billed=sent_in_full)
        told = hooks.endpoint.parse(hooks.status, hooks.headers, b"")
        assert isinstance(told, Failure)
        # A 4xx means that no work was done; a 5xx does not tell.
        billed = told.possibly_billed or (sent_in_full and hooks.status >= _FIRST_SERVER_ERROR)
        return told._replace(message=f"HTTP {hooks.status}: {error.message}", possibly_billed=billed)

    def abandon(self) -> None:
        """Drop every connection, and end the attempts in flight at once."""
        for transport in self._transports:
            transport.abandon()

    def end(self) -> None:
        """Abandon, and release everything, in the thread that runs the loop."""
        for transport in reversed(self._transports):  # the first one owns the loop of all
            transport.end()


def shortened(text: str) -> str:
    """Return a reply, cut at MAX_REPLY_BYTES of UTF-8."""
    if len(text) * 4 <= MAX_REPLY_BYTES:
        return text
    return text.encode()[:MAX_REPLY_BYTES].decode(errors="ignore")
