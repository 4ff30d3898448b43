"""Where the senders of a run connect: a socket that lets in only those that hold the run's token."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from pipeline.engines.remote.handshake import Stranger, admit

_SECONDS_TO_PROVE = 10.0


class Door:
    """Listens at `host`, on a free port, and calls `enter` with each sender's connection and number.

    `enter` is called in a thread of the door's. Raises OSError if the address cannot be bound.
    """

    def __init__(self, host: str, enter: Callable[[socket.socket, int], None]) -> None:
        self.token = secrets.token_bytes(32)
        self._enter = enter
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        threading.Thread(target=self._open, name="door", daemon=True).start()

    def close(self) -> None:
        """Let in no more senders."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the wait of the other thread
        self._listening.close()

    def _open(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return  # closed
            # Each in a thread of its own: one that says nothing keeps no other waiting.
            threading.Thread(target=self._admit, args=(connection,), name="door-guest", daemon=True).start()

    def _admit(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_SECONDS_TO_PROVE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._enter(connection, admit(connection, self.token))
        except (Stranger, EOFError, OSError):
            connection.close()
