"""A SOCKS5 proxy in front of a server of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

from tests.support.raw_server import Peer


def _relay(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def forward(near: socket.socket, port: int) -> None:
    """Passes bytes on between a socket and a server of this machine, until both have ended."""
    with socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_relay, args=(far, near))
        back.start()
        _relay(near, far)
        back.join()


@dataclass
class Socks:
    """A SOCKS5 proxy that leads everything to one server (RFC 1928 and, for the password, RFC 1929)."""

    port: int
    password: bytes = b"pass"
    reply: int = 0
    asked: list[bytes] = field(default_factory=list)

    def __call__(self, peer: Peer) -> None:
        exactly = peer.socket.makefile("rb").read
        exactly(exactly(2)[1])
        peer.send(b"\x05\x02")
        exactly(exactly(2)[1])
        is_known = exactly(exactly(1)[0]) == self.password
        peer.send(b"\x01\x00" if is_known else b"\x01\x01")
        if not is_known:
            return
        assert exactly(4) == b"\x05\x01\x00\x03"  # connect to a name
        self.asked.append(exactly(exactly(1)[0]))
        exactly(2)
        peer.send(b"\x05%c\x00\x01\x00\x00\x00\x00\x00\x00" % self.reply)
        if not self.reply:
            forward(peer.socket, self.port)
