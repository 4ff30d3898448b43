"""What an attempt ends with: a raw reply, or an error that says whether the request may have reached the server."""

from __future__ import annotations

import http.client
import math
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import ErrorKind

WIRE_ALLOWANCE = 2**20
"""Bytes a reply may have on the wire beyond the cap on its body, for its head, chunk sizes and trailers."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections are kept, the seconds for one attempt, and the most decoded bytes of a reply's body."""

    connections: int
    timeout_seconds: float
    most_bytes: int


@dataclass(frozen=True, slots=True)
class RawReply:
    """One complete HTTP reply, whatever its status.

    `headers` finds a name in any case; a header that came twice has its values joined by `, `. `body` is complete
    and decoded of gzip and deflate.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Postponed(Exception):
    """The request is not to go out now. Raised by a `AttemptHooks`; nothing was sent."""


class AttemptHooks:
    """What a sender sets for an attempt, and what it is called with meanwhile. These do nothing."""

    new_connection: bool = False
    """Whether the attempt has to go over a new connection; the kept ones are closed then."""

    idle_seconds: float = math.inf
    """The most seconds without a byte of the reply, from when the request was sent; may change as the reply comes."""

    streams_body: bool = False
    """Whether the body goes to `on_data` piece by piece, and not into the RawReply. Looked at after `on_headers`."""

    def on_send(self) -> None:
        """Let the request go out: the connection is made, the first byte is next. Raise Postponed to send nothing."""

    def on_headers(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the headers of the reply; its body may still be interrupted, broken or too large."""

    def on_data(self, piece: bytes) -> None:
        """Take the next bytes of the body, decoded."""


class TransportError(Exception):
    """An attempt without a complete reply.

    `sent` is False only where no byte of the request can have reached the server; `sent_in_full` says whether all of it
    went out, so that the server may have acted on it. `message` names the cause in a few words and holds nothing of the
    request or the reply.
    """

    def __init__(self, kind: ErrorKind, message: str, sent: bool, sent_in_full: bool) -> None:
        super().__init__(kind, message, sent, sent_in_full)
        self.kind = kind
        self.message = message
        self.sent = sent
        self.sent_in_full = sent_in_full

    def __str__(self) -> str:
        return self.message


Outcome = RawReply | TransportError | Postponed
"""What comes of an attempt."""


def idle_timeout(seconds: float) -> TransportError:
    """Make the error for a reply of which nothing more came for so long."""
    return TransportError(ErrorKind.TIMEOUT, f"nothing of the reply came for {seconds:g} seconds", True, True)


def too_large(most_bytes: int) -> TransportError:
    """Make the error for a reply beyond the cap."""
    return TransportError(ErrorKind.REPLY_TOO_LARGE, f"the reply is larger than {most_bytes:,} bytes", True, True)


def explain(error: Exception, *, sent: bool, sent_in_full: bool, timeout_seconds: float) -> TransportError:
    """Make the typed error for what sockets, TLS or http.client raised before (`sent` False) or after sending began."""
    kind = ErrorKind.CONNECTION_ERROR
    # A TimeoutError with an errno is the kernel's (ETIMEDOUT): the connection broke before the deadline.
    if isinstance(error, TimeoutError) and error.errno is None:
        kind = ErrorKind.TIMEOUT
        message = f"no {'complete reply' if sent else 'connection'} within {timeout_seconds:g} seconds"
    elif isinstance(error, ssl.SSLCertVerificationError):
        kind = ErrorKind.TLS_ERROR
        message = f"the server's certificate is not accepted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        # An end of file amid the handshake is a lost connection, not a disagreement about TLS.
        if not sent and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            kind = ErrorKind.TLS_ERROR
        stage = "connection broke" if sent else "handshake failed"
        message = f"the TLS {stage}: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
    elif isinstance(error, socket.gaierror):
        message = f"the host name cannot be resolved: {error.strerror}"
    elif isinstance(error, http.client.RemoteDisconnected):
        message = "the server closed the connection without a reply"
    elif isinstance(error, http.client.IncompleteRead):
        message = "the reply was cut off"
    elif isinstance(error, OSError):
        message = error.strerror or str(error)
    elif sent:
        message = "the reply is not sound HTTP"
    else:
        message = "the host name, or the proxy's reply, is not sound"
    return TransportError(kind, message, sent, sent_in_full)
