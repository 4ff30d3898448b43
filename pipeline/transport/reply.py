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

    `headers` finds a name in any case; a header that came twice has its values joined by `, `. `body` is whole and
    decoded of gzip and deflate.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class HeldBack(Exception):
    """The request is not to go out now. Raised by a `Watch`; nothing was sent."""


class Watch:
    """What a sender has to know while an attempt goes on. This one takes no interest."""

    fresh: bool = False
    """Whether the attempt has to go over a new connection; the kept ones are closed then."""

    patience: float = math.inf
    """The most seconds without a byte of the reply, from when the request was sent; may change as the reply comes."""

    takes_body: bool = False
    """Whether the body goes to `received` piece by piece, and not into the RawReply. Looked at after `replied`."""

    def sending(self) -> None:
        """The connection stands and the first byte goes out next. Raise HeldBack to send nothing."""

    def sent(self) -> None:
        """All of the request has gone out, and nothing of the reply has been read."""

    def replied(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the reply has arrived; its body may still be cut off, broken or too large."""

    def received(self, piece: bytes) -> None:
        """The next bytes of the body, decoded, have arrived."""


class TransportError(Exception):
    """An attempt without a complete reply.

    `sent` is False only where no byte of the request can have reached the server; `is_whole` says whether all of it
    went out, so that the server may have acted on it. `message` names the cause in a few words and holds nothing of the
    request or the reply.
    """

    def __init__(self, kind: ErrorKind, message: str, sent: bool, is_whole: bool) -> None:
        super().__init__(kind, message, sent, is_whole)
        self.kind = kind
        self.message = message
        self.sent = sent
        self.is_whole = is_whole

    def __str__(self) -> str:
        return self.message


Outcome = RawReply | TransportError | HeldBack
"""What comes of an attempt."""


def silent(seconds: float) -> TransportError:
    """The error for a reply of which nothing more came for so long."""
    return TransportError(ErrorKind.TIMEOUT, f"nothing of the reply came for {seconds:g} seconds", True, True)


def too_large(most_bytes: int) -> TransportError:
    """The error for a reply beyond the cap."""
    return TransportError(ErrorKind.REPLY_TOO_LARGE, f"the reply is larger than {most_bytes:,} bytes", True, True)


def explain(error: Exception, *, sent: bool, is_whole: bool, timeout_seconds: float) -> TransportError:
    """The typed error for what the sockets, TLS or http.client raised before (`sent` False) or after sending began."""
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
    return TransportError(kind, message, sent, is_whole)
