"""The Session of `requests` with its stock adapter, and a few changes.

Its connections call hooks once they are made, before the first byte of a request is sent, and after the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Protocol

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from pipeline.transport.http1 import PIECE

_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")


class ConnectionHooks(Protocol):
    """Callbacks of a connection for one request."""

    def on_send(self, connected: Any) -> None:
        """Allow the request to be sent over a connected socket. An exception keeps it from being sent."""

    def on_sent(self) -> None:
        """Handle that the request was sent in full."""


class Payload(bytes):
    """A request's body, which is what `requests` and urllib3 pass unchanged from a session to a connection."""

    hooks: ConnectionHooks


class _HookedConnection(HTTPConnection):
    """A connection that calls the hooks of the payload that it sends."""

    def request(self, method: str, url: str, body: Any = None, *arguments: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        assert isinstance(body, Payload)
        body.hooks.on_send(self.sock)
        super().request(method, url, body, *arguments, **options)
        body.hooks.on_sent()


@cache
def _hooked(kind: type[HTTPConnection]) -> type[HTTPConnection]:
    return kind if issubclass(kind, _HookedConnection) else type(kind.__name__, (_HookedConnection, kind), {})


class _Adapter(HTTPAdapter):
    """The stock adapter, with connections that call hooks, and with a certificate check for every https:// proxy."""

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # For an http:// URL the stock adapter accepts any certificate of an https:// proxy.
        super().cert_verify(conn, "https", verify, cert)  # type: ignore[no-untyped-call]

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        pool.ConnectionCls = _hooked(pool.ConnectionCls)
        return pool


class StockSession(requests.Session):
    """A session without retries, redirects, cookies or settings from the environment.

    Even with `allow_redirects=False`, a plain one prepares the request that would follow, and first reads all of the
    body.
    """

    def __init__(self, connections: int) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(pool_maxsize=connections))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: no redirect is followed."""
        return None


def pieces_of(reply: urllib3.HTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of a body as they arrive. If it is not chunked, `stream` would wait until a piece is full."""
    if reply.chunked:
        return reply.stream(PIECE, decode_content=False)
    return iter(partial(reply.read1, PIECE, decode_content=False), b"")


def first_cause(error: Exception) -> Exception:
    """Return the original error: urllib3 and requests raise their own while they handle it."""
    while isinstance(error.__context__, Exception) and (error.__cause__ or not error.__suppress_context__):
        error = error.__context__
    if refused := _REFUSED_TUNNEL.match(str(error)):
        return ConnectionError(f"the proxy refused the tunnel with status {refused[1]}")
    return error
