"""Attempts that are let in at one moment, and so are sent at one moment.

A Retry-After holds back whatever has not been sent when it is read. If the first request of a burst were refused while
others still connect, these would go out after that pause, and be asked for a pause of their own.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic

from pipeline.transport.loop import Gate, Loop

_UNTIL_READY_SECONDS = 0.25
_UNTIL_SENT_SECONDS = 0.05


class Burst:
    """Where `size` attempts on a loop wait for each other, with their connections made, for a quarter of a second at
    most. All that wait are sent before the loop reads anything.
    """

    def __init__(self, loop: Loop, size: int) -> None:
        self._missing = size
        self._gates: list[Gate] = []
        self._timer = loop.at(monotonic() + _UNTIL_READY_SECONDS, self._go)

    def arrive(self) -> None:
        """Count one attempt as one that is here, or that will never be."""
        self._missing -= 1
        if self._missing == 0:
            self._go()

    async def wait(self) -> None:
        """Arrive, and wait for the others."""
        self.arrive()
        if self._missing > 0:
            gate = Gate()
            self._gates.append(gate)
            await gate

    def _go(self) -> None:
        self._missing = 0
        self._timer.cancel()
        gates, self._gates = self._gates, []
        for gate in gates:
            gate.open()


class ThreadBurst:
    """Where `size` attempts in threads wait for each other: with their connections made, and with all of them sent."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size)

    def arrive(self) -> None:
        """Let no other wait any longer: this one is through, or will never be here."""
        self._barrier.abort()

    def connected(self) -> None:
        """Wait until all are connected, a quarter of a second at most; then whoever waits goes on."""
        self._meet(_UNTIL_READY_SECONDS)

    def sent(self) -> None:
        """Wait until all have sent, so that no reply is read before."""
        self._meet(_UNTIL_SENT_SECONDS)

    def _meet(self, seconds: float) -> None:
        with suppress(threading.BrokenBarrierError):  # one has waited for long enough, or is through
            self._barrier.wait(seconds)
