"""Sockets that block, for threads: every operation ends by the attempt's deadline."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from time import monotonic

from pipeline.transport.loop import LONGEST_WAIT


def remaining(deadline: float) -> float:
    """Seconds until `deadline` on the monotonic clock; raises TimeoutError where it has passed."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return min(seconds, LONGEST_WAIT)


def connect(host: str, port: int, deadline: float, use: Callable[[socket.socket], None]) -> socket.socket:
    """A connected socket; `use` gets each socket that is tried before it can block, and again once it is connected.

    Raises OSError, TimeoutError at the deadline, and ValueError for a host name that is none.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            use(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # An address that swallows packets leaves the others their share of the time.
            sock.settimeout(remaining(deadline) / (len(addresses) - index))
            sock.connect(address)
            use(sock)  # a cut before it was connected has ended nothing
            return sock
        except OSError as error:
            failure = error
            if sock is not None:
                sock.close()
    raise failure or ConnectionError("the host has no address")


def cut(sock: socket.socket) -> None:
    """From another thread than the one that uses the socket: ends what is under way on it at once."""
    # SSLSocket's own shutdown also drops TLS, and a thread that reads on would take ciphertext for the reply.
    with contextlib.suppress(OSError):  # not connected, or closed already
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
