"""Outcomes of an attempt: a raw reply, or an error that says whether the request may have reached the server."""

from __future__ import annotations

import http.client
import math
import socket
import ssl
from collections.abc import Mapping

from msgspec import Struct

from pipeline.errors import ErrorKind

WIRE_ALLOWANCE = 2**20
"""Bytes that a reply may have beyond the limit on its body, for headers, chunk sizes and trailers."""


class Bounds(Struct, frozen=True):
    """Limits: connections that are kept, seconds for one attempt, and decoded bytes of a reply's body."""

    connections: int
    timeout_seconds: float
    most_bytes: int


class RawReply(Struct, frozen=True):
    """One complete HTTP reply, whatever its status.

    `headers` finds a name in any case; the values of a repeated header are joined by `, `. `body` is complete, with
    gzip and deflate decoded.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Postponed(Exception):
    """The request must not be sent now. Raised by `AttemptHooks.on_send`; nothing was sent."""


class AttemptHooks:
    """Settings of an attempt, and callbacks while it runs. These do nothing."""

    new_connection: bool = False
    """Whether the attempt must use a new connection. Idle ones are then closed."""

    idle_seconds: float = math.inf
    """The most seconds without a byte of the reply after the request was sent. May change while the reply arrives."""

    streams_body: bool = False
    """Whether the body goes to `on_data` instead of into the RawReply. Read after `on_headers`."""

    def on_send(self) -> None:
        """Allow the request to be sent: the connection is made. Raise Postponed to send nothing."""

    def on_headers(self, status: int, headers: Mapping[str, str]) -> None:
        """Handle the headers of the reply. Its body may still be interrupted, broken or too large."""

    def on_data(self, piece: bytes) -> None:
        """Handle the next decoded bytes of the body."""


class TransportError(Exception):
    """An attempt without a complete reply.

    `sent` is False only if no byte of the request can have reached the server. `sent_in_full` says whether all of it
    was sent, so that the server may have acted on it. `message` names the cause in a few words and contains
    nothing of the request or the reply.
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
"""The outcome of an attempt."""


def idle_timeout(seconds: float) -> TransportError:
    """Return the error for a reply of which nothing arrived for `seconds`."""
    return TransportError(ErrorKind.TIMEOUT, f"nothing of the reply came for {seconds:g} seconds", True, True)


def too_large(most_bytes: int) -> TransportError:
    """Return the error for a reply beyond the limit."""
    return TransportError(ErrorKind.REPLY_TOO_LARGE, f"the reply is larger than {most_bytes:,} bytes", True, True)


def explain(error: Exception, *, sent: bool, sent_in_full: bool, timeout_seconds: float) -> TransportError:
    """Return the typed error for what sockets, TLS or http.client raised before or after sending began."""
    kind = ErrorKind.CONNECTION_ERROR
    # A TimeoutError with an errno is the kernel's (ETIMEDOUT): the connection broke before the deadline.
    if isinstance(error, TimeoutError) and error.errno is None:
        kind = ErrorKind.TIMEOUT
        message = f"no {'complete reply' if sent else 'connection'} within {timeout_seconds:g} seconds"
    elif isinstance(error, ssl.SSLCertVerificationError):
        kind = ErrorKind.TLS_ERROR
        message = f"the server's certificate is not accepted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        # An end of file during the handshake is a lost connection, not a TLS error.
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
