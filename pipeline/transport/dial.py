"""Connecting to a host with several addresses, some of which may be unreachable."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

from pipeline.transport.loop import WRITE, Gate, Loop

Address = tuple[int, int, int, Any]
"""Family, type and protocol of a socket, and the address to connect to."""

HEAD_START = 0.25
"""Seconds before the next address is tried in parallel (RFC 8305, 5)."""


async def dial(loop: Loop, addresses: Sequence[Address], deadline: float) -> socket.socket:
    """Return a socket that is connected to the first address that answers.

    When an address refuses, or has not answered for a quarter of a second, the next one is tried too. With many
    addresses, each gets its share of the time until `deadline`, when the caller ends the wait. Raises OSError: that of
    the last address that failed.
    """
    race = _Race(loop)
    try:
        for index, address in enumerate(addresses):
            race.begin(address)
            share = (deadline - monotonic()) / (len(addresses) - index)
            is_last = index == len(addresses) - 1
            await race.run(None if is_last else min(HEAD_START, share))
            if race.winner is not None:
                return race.winner
        raise race.failure or ConnectionError("the host has no address")
    finally:
        race.end()


class _Race:
    """Sockets that connect in parallel."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._gate = Gate()
        self._running: dict[int, socket.socket] = {}
        self._is_over = False
        self.winner: socket.socket | None = None
        self.failure: OSError | None = None

    def begin(self, address: Address) -> None:
        """Try one more address."""
        family, kind, protocol, place = address
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(place)
        except BlockingIOError:
            pass
        except OSError as error:
            self.failure = error
            if sock is not None:
                sock.close()
            return
        assert sock is not None
        self._running[sock.fileno()] = sock
        self._loop.watch(sock.fileno(), WRITE, partial(self._ready, sock.fileno()))

    async def run(self, seconds: float | None) -> None:
        """Wait until one is connected or all have failed.

        With `seconds`, if there are more addresses to try, also until one fails or the time is over.
        """
        self._is_over = False
        timer = None if seconds is None else self._loop.at(monotonic() + seconds, self._stop)
        running = len(self._running)
        while self.winner is None and self._running and not self._is_over:
            if seconds is not None and len(self._running) < running:
                break
            await self._gate
        if timer is not None:
            timer.cancel()

    def end(self) -> None:
        """Close all but the winner."""
        self._is_over = True
        while self._running:
            self._take(next(iter(self._running))).close()

    def _stop(self) -> None:
        self._is_over = True
        self._gate.open()

    def _ready(self, number: int, events: int) -> None:
        if number not in self._running:  # closed meanwhile
            return
        sock = self._take(number)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.failure = OSError(code, os.strerror(code))
            sock.close()
        elif self.winner is None:
            self.winner = sock
        else:
            sock.close()
        self._gate.open()

    def _take(self, number: int) -> socket.socket:
        self._loop.forget(number)
        return self._running.pop(number)
