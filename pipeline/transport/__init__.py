"""HTTP attempts, many at a time on one loop: each a raw reply or a typed error, always within the deadline.

`requests` reads the address, the proxies and the certificates of the environment. The sending is our own (`lean`),
because the bounds promised here are not ones that requests has: a deadline for all of an attempt however slowly bytes
drip, a cap on decoded bytes, certainty about whether anything was sent, and ten thousand attempts at a time. Nothing is
retried, no redirect is followed, no cookie kept, no netrc read. Where an endpoint is only within reach of `requests`,
`standard` sends by its Session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests

from pipeline.errors import InvalidInput
from pipeline.transport.lean import LeanBackend
from pipeline.transport.loop import LONGEST_WAIT, Loop
from pipeline.transport.reply import AttemptHooks, Bounds, Outcome, Postponed, RawReply, TransportError
from pipeline.transport.route import DEFAULT_PORTS, find_route

__all__ = ["AttemptHooks", "Loop", "Outcome", "Postponed", "RawReply", "Transport", "TransportError"]

DEFAULT_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "llm-batch-pipeline"}


class Transport:
    """POSTs to one URL over keep-alive connections; each process makes its own.

    Everything happens in the thread that turns `loop`; only `abandon` may be called from others.
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
        """Prepare the request once; connect to nothing.

        `headers` go with every request as given. `connections` is how many are kept open between attempts,
        `timeout_seconds` bounds one attempt from connect to the last byte, `most_bytes` the decoded body. `standard`
        sends through requests' own adapter. Proxy and certificates come from the environment as it is now. `loop` is
        that of another transport, to send together with it. Raises InvalidInput for a URL, header, proxy or certificate
        file that cannot be used.
        """
        request = _prepared(url, headers)
        bounds = Bounds(connections, timeout_seconds, most_bytes)
        self._is_guest = loop is not None
        self.loop = Loop() if loop is None else loop
        try:
            self._backend = _backend(self.loop, request, bounds, standard=standard)
        except BaseException:
            self._let_go()
            raise

    @property
    def slots(self) -> int:
        """How many attempts can be under way at a time: as many as `connections`, fewer by `standard`."""
        return self._backend.slots

    def burst(self, size: int) -> Any:
        """Return what so many attempts are to be started with, so that they are sent at one moment; None where others
        are under way.
        """
        return self._backend.burst(size)

    def start(self, body: bytes, hooks: AttemptHooks, done: Callable[[Outcome], None], burst: Any = None) -> None:
        """Begin one attempt, which sends the body once. `done` gets what comes of it in a turn of the loop, or at once:
        the complete reply, whatever its status; Postponed where the hooks do not let it go out; or a TransportError of
        kind TIMEOUT, CONNECTION_ERROR, TLS_ERROR, REPLY_TOO_LARGE or INVALID_REPLY.

        An idle connection that the server closed is replaced beforehand; one that ends between sending and the first
        byte of the reply counts as sent.
        """
        self._backend.start(body, hooks, done, burst)

    def post(self, body: bytes, hooks: AttemptHooks | None = None) -> RawReply:
        """Make one attempt, with nothing else on the loop, and wait for it. Raises Postponed and TransportError."""
        outcomes: list[Outcome] = []
        self.start(body, hooks or AttemptHooks(), outcomes.append)
        while not outcomes:
            self.loop.turn(LONGEST_WAIT)
        outcome = outcomes[0]
        if isinstance(outcome, RawReply):
            return outcome
        raise outcome

    def close(self) -> None:
        """Close idle connections now and the others after their attempts; a later attempt fails with `sent` False."""
        self._backend.close()

    def abandon(self) -> None:
        """Close, and end all attempts under way at once, each with a CONNECTION_ERROR."""
        self.loop.call(self._backend.abandon)

    def end(self) -> None:
        """Abandon, here and now, and let go of the loop, if it is this one's own: nothing can be done with it then."""
        self._backend.abandon()
        self._let_go()

    def _let_go(self) -> None:
        if not self._is_guest:
            self.loop.close()


class _Backend(Protocol):
    """What carries attempts to the endpoint."""

    @property
    def slots(self) -> int: ...
    def burst(self, size: int) -> Any: ...
    def start(self, body: bytes, hooks: AttemptHooks, done: Callable[[Outcome], None], burst: Any) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


def _prepared(url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    try:
        request.prepare_method("POST")
        request.prepare_url(url, None)
        if urlsplit(request.url or "").scheme not in DEFAULT_PORTS:
            raise ValueError
    except (requests.RequestException, ValueError):
        raise InvalidInput("the endpoint's URL must be an absolute http:// or https:// address") from None
    try:
        request.prepare_headers({**DEFAULT_HEADERS, **headers})
        "".join(request.headers.values()).encode("latin-1")
    except (requests.RequestException, ValueError):
        raise InvalidInput(
            "a header holds characters that HTTP cannot carry; look for a line break or a blank at its ends, "
            "or non-ASCII characters, in the API key"
        ) from None
    return request


def _backend(loop: Loop, request: requests.PreparedRequest, bounds: Bounds, *, standard: bool) -> _Backend:
    if standard:
        from pipeline.transport.standard import StandardBackend

        return StandardBackend(loop, request, bounds)
    assert request.url is not None
    return LeanBackend(loop, find_route(request.url, request.path_url), request.headers, bounds)
