"""HTTP attempts, many at a time on one loop. Each ends with a raw reply or a typed error, within its deadline.

`requests` prepares the URL and finds the proxies and certificates of the environment. Sending is our own code (`lean`),
because `requests` does not offer what is promised here: a deadline for the whole attempt however slowly bytes arrive, a
limit on decoded bytes, certainty about whether anything was sent, and ten thousand attempts at a time. There are no
retries, redirects, cookies or netrc. For endpoints that only `requests` can reach, `standard` uses its Session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pipeline.transport.lean import LeanBackend
from pipeline.transport.loop import LONGEST_WAIT, Loop
from pipeline.transport.reply import AttemptHooks, Bounds, Outcome, Postponed, RawReply, TransportError
from pipeline.transport.request_body import JsonBodies, RequestBody
from pipeline.transport.route import find_route
from pipeline.transport.target import Target, target_of

__all__ = [
    "AttemptHooks",
    "JsonBodies",
    "Loop",
    "Outcome",
    "Postponed",
    "RawReply",
    "RequestBody",
    "Transport",
    "TransportError",
]


class Transport:
    """POSTs to one URL over keep-alive connections. Each process makes its own.

    Everything happens in the thread that runs `loop`; only `abandon` may be called from other threads.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        timeout_seconds: float,
        most_bytes: int = 64 * 2**20,
        standard: bool = False,
        loop: Loop | None = None,
    ) -> None:
        """Prepare the request. This does not connect.

        Every request has `headers` as given. `connections` is how many are kept open between attempts.
        `timeout_seconds` limits one attempt from connecting to the last byte, and `most_bytes` the decoded body.
        `standard` chooses the session of `requests`. Proxy and certificates are read from the environment now. `loop`
        is that of another transport to share. Raises InvalidInput for a URL, header, proxy or certificate file that
        cannot be used.
        """
        target = target_of(url, headers)
        bounds = Bounds(connections, timeout_seconds, most_bytes)
        self._is_guest = loop is not None
        self.loop = Loop() if loop is None else loop
        try:
            self._backend = _backend(self.loop, target, bounds, standard=standard)
        except BaseException:
            self._close_loop()
            raise

    @property
    def slots(self) -> int:
        """The maximum number of attempts in flight: as many as `connections`, fewer for `standard`."""
        return self._backend.slots

    def burst(self, size: int) -> Any:
        """Return what to start `size` attempts with so that they are sent together; None if others are in flight."""
        return self._backend.burst(size)

    def start(self, body: RequestBody, hooks: AttemptHooks, done: Callable[[Outcome], None], burst: Any = None) -> None:
        """Begin one attempt, which sends the body once.

        `done` gets the outcome in an iteration of the loop, or at once: the complete reply, whatever its status;
        Postponed if the hooks refuse to send; or a TransportError of kind TIMEOUT, CONNECTION_ERROR, TLS_ERROR,
        REPLY_TOO_LARGE or INVALID_REPLY. An idle connection that the server closed is replaced first. If a connection
        ends between sending and the first byte of the reply, the request counts as sent.
        """
        self._backend.start(body, hooks, done, burst)

    def post(self, body: RequestBody, hooks: AttemptHooks | None = None) -> RawReply:
        """Make one attempt alone on the loop, and return its reply. Raises Postponed and TransportError."""
        outcomes: list[Outcome] = []
        self.start(body, hooks or AttemptHooks(), outcomes.append)
        while not outcomes:
            self.loop.turn(LONGEST_WAIT)
        outcome = outcomes[0]
        if isinstance(outcome, RawReply):
            return outcome
        raise outcome

    def close(self) -> None:
        """Close idle connections now, and the others after their attempts. Later attempts fail with `sent` False."""
        self._backend.close()

    def abandon(self) -> None:
        """Close, and end all attempts in flight at once, each with a CONNECTION_ERROR."""
        self.loop.call(self._backend.abandon)

    def end(self) -> None:
        """Abandon in this thread, and close the loop unless it is shared. The transport is unusable afterwards."""
        self._backend.abandon()
        self._close_loop()

    def _close_loop(self) -> None:
        if not self._is_guest:
            self.loop.close()


class _Backend(Protocol):
    """What carries attempts to the endpoint."""

    @property
    def slots(self) -> int: ...
    def burst(self, size: int) -> Any: ...
    def start(self, body: RequestBody, hooks: AttemptHooks, done: Callable[[Outcome], None], burst: Any) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


def _backend(loop: Loop, target: Target, bounds: Bounds, *, standard: bool) -> _Backend:
    if standard:
        from pipeline.transport.standard import StandardBackend

        return StandardBackend(loop, target, bounds)
    return LeanBackend(loop, find_route(target.url, target.path), target.headers, bounds)
