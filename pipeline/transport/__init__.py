"""One HTTP attempt at a time, from many threads: a raw reply or a typed error, always within the deadline.

`requests` prepares the request and its Session carries it, over an adapter of our own (`adapter`), because the
bounds promised here are not ones that requests has: a deadline for the whole attempt however slowly bytes drip, a cap
on decoded bytes, and certainty about whether anything was sent. Nothing is retried, no redirect is followed, no cookie
kept, no netrc read. docs.python-requests.org, "Transport Adapters", describes the seam. Where the way to an endpoint
needs requests' standard adapter, `standard` holds that one to the same bounds.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import requests

from pipeline.errors import InvalidInput
from pipeline.transport.adapter import DeadlineAdapter, ReplyResponse, WatchedRequest
from pipeline.transport.reply import HeldBack, RawReply, TransportError, Watch
from pipeline.transport.route import Route, find_route

if TYPE_CHECKING:
    from pipeline.transport.standard import StandardAdapter

__all__ = ["HeldBack", "RawReply", "Transport", "TransportError", "Watch"]

DEFAULT_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "llm-batch-pipeline"}


class Transport:
    """POSTs to one URL over kept connections; safe from many threads, but made anew in each process."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        timeout_seconds: float,
        most_bytes: int = 64 * 2**20,
        standard: bool = False,
    ) -> None:
        """Prepares the request once; connects to nothing.

        `headers` go with every request as given. `connections` is how many are kept open between attempts,
        `timeout_seconds` bounds one attempt from connect to the last byte (looking up the host's name is bounded only
        by the system's resolver), `most_bytes` the decoded body. `standard` sends through requests' own adapter. Proxy
        and certificates come from the environment as it is now. Raises InvalidInput for a URL, header, proxy or
        certificate file that cannot be used.
        """
        self._timeout_seconds = timeout_seconds
        self._request = WatchedRequest()
        try:
            self._request.prepare_method("POST")
            self._request.prepare_url(url, None)
        except (requests.RequestException, ValueError):
            raise InvalidInput("the endpoint's URL must be an absolute http:// or https:// address") from None
        assert self._request.url is not None
        route = find_route(self._request.url, self._request.path_url)
        try:
            self._request.prepare_headers({**DEFAULT_HEADERS, **headers})
            "".join(self._request.headers.values()).encode("latin-1")
        except (requests.RequestException, ValueError):
            raise InvalidInput(
                "a header holds characters that HTTP cannot carry; look for a line break or a blank at its ends, "
                "or non-ASCII characters, in the API key"
            ) from None
        self._adapter = _adapter_for(route, connections, most_bytes, standard)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)

    def post(self, body: bytes, watch: Watch | None = None) -> RawReply:
        """One attempt: sends the body once and gives the complete reply, whatever its status.

        Raises HeldBack where the watch does not let it go out, and TransportError of kind TIMEOUT, CONNECTION_ERROR,
        TLS_ERROR, REPLY_TOO_LARGE or INVALID_REPLY. A kept connection that the server closed is replaced beforehand;
        one that ends between sending and the first byte of the reply counts as sent.
        """
        request = copy.copy(self._request)
        request.body = body
        request.watch = watch or Watch()
        response = self._session.send(
            request, stream=True, timeout=self._timeout_seconds, proxies={}, allow_redirects=False
        )
        assert isinstance(response, ReplyResponse)
        return response.reply

    def close(self) -> None:
        """Closes idle connections now and the others after their attempts; a later `post` fails with `sent` False."""
        self._session.close()

    def abandon(self) -> None:
        """Closes, and ends all attempts under way at once, each with a CONNECTION_ERROR."""
        self._adapter.abandon()


def _adapter_for(route: Route, connections: int, most_bytes: int, standard: bool) -> DeadlineAdapter | StandardAdapter:
    if not standard:
        return DeadlineAdapter(route, connections=connections, most_bytes=most_bytes)
    from pipeline.transport.standard import StandardAdapter

    return StandardAdapter(route, connections=connections, most_bytes=most_bytes)
