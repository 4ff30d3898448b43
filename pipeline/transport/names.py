"""Name resolution that does not block the loop."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import suppress
from itertools import chain, zip_longest
from time import monotonic

from pipeline.transport.dial import Address
from pipeline.transport.loop import Gate, Loop

KEPT_SECONDS = 30.0
"""How long addresses are cached. If none can be reached, the host is looked up again at once."""


class Host:
    """A host to connect to. One lookup at a time serves all waiting attempts."""

    def __init__(self, loop: Loop, name: str, port: int) -> None:
        self._loop = loop
        self._name = name
        self._port = port
        self._found: list[Address] | Exception = []
        self._good_until = 0.0
        self._waiting: list[Gate] = []
        self._is_looking = False
        self._turns = 0

    async def addresses(self) -> list[Address]:
        """Return the addresses in the order in which to try them.

        Families alternate, starting with the resolver's first (RFC 8305, 4). The addresses of a family rotate, so that
        servers behind one name share the connections. Raises OSError, and ValueError for an invalid name.
        """
        if monotonic() >= self._good_until:
            gate = Gate()
            self._waiting.append(gate)
            if not self._is_looking:
                self._look_up()
            await gate
        if isinstance(self._found, Exception):
            raise self._found.with_traceback(None)  # otherwise it would grow with each attempt that raises it
        families: dict[int, list[Address]] = {}
        for address in self._found:
            families.setdefault(address[0], []).append(address)
        turn, self._turns = self._turns, self._turns + 1
        turned = [group[turn % len(group) :] + group[: turn % len(group)] for group in families.values()]
        return [address for address in chain.from_iterable(zip_longest(*turned)) if address is not None]

    def forget(self) -> None:
        """Look the name up again for the next connection."""
        self._good_until = 0.0

    def _look_up(self) -> None:
        self._is_looking = True
        if _is_address(self._name):
            self._resolve()
            return
        # A daemon thread: a hanging resolver must not keep the program from exiting.
        try:
            threading.Thread(target=self._resolve, name="resolver", daemon=True).start()
        except RuntimeError:  # the system starts no more threads
            self._resolve()

    def _resolve(self) -> None:
        found: list[Address] | Exception
        try:
            infos = socket.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
            found = [(family, kind, protocol, place) for family, kind, protocol, _, place in infos]
        except (OSError, ValueError) as error:
            found = error
        self._loop.call(lambda: self._take(found))

    def _take(self, found: list[Address] | Exception) -> None:
        self._is_looking = False
        self._found = found
        self._good_until = 0.0 if isinstance(found, Exception) else monotonic() + KEPT_SECONDS
        waiting, self._waiting = self._waiting, []
        for gate in waiting:
            gate.open()


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False
