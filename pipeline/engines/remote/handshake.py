"""How a run and a sender prove to each other that they hold the run's token. Nothing is unpickled before that.

What follows is not encrypted. It is meant for the network of a cluster, whose nodes trust each other.
"""

from __future__ import annotations

import hmac
import os
import socket
import struct

from pipeline.engines.channel import exactly

_NUMBER = struct.Struct("!Q")
_NONCE = 32
_PROOF = 32


class Stranger(Exception):
    """The other side does not hold the token."""


def admit(connection: socket.socket, token: bytes) -> int:
    """Let a sender prove itself to the run, and return its number. Raises Stranger, EOFError and OSError."""
    nonce = os.urandom(_NONCE)
    connection.sendall(nonce)
    number = bytes(exactly(connection, _NUMBER.size))
    theirs = bytes(exactly(connection, _NONCE))
    _check(connection, _proof(token, b"sender", nonce, theirs, number))
    connection.sendall(_proof(token, b"run", theirs, nonce, number))
    return int(_NUMBER.unpack(number)[0])


def join(connection: socket.socket, token: bytes, number: int) -> None:
    """Prove a sender to its run, and let the run prove itself. Raises Stranger, EOFError and OSError."""
    theirs = bytes(exactly(connection, _NONCE))
    nonce, packed = os.urandom(_NONCE), _NUMBER.pack(number)
    connection.sendall(packed + nonce + _proof(token, b"sender", theirs, nonce, packed))
    _check(connection, _proof(token, b"run", nonce, theirs, packed))


def _check(connection: socket.socket, wanted: bytes) -> None:
    if not hmac.compare_digest(bytes(exactly(connection, _PROOF)), wanted):
        raise Stranger


def _proof(token: bytes, *parts: bytes) -> bytes:
    return hmac.digest(token, b"".join(parts), "sha256")
