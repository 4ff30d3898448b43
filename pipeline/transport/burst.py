"""Attempts that are admitted together and therefore sent together.

A Retry-After delays whatever has not been sent when it is read. If the first request of a burst were refused while
others still connect, those would be sent after that pause and be refused with a pause of their own.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic

from pipeline.transport.loop import Gate, Loop

_UNTIL_READY_SECONDS = 0.25
_UNTIL_SENT_SECONDS = 0.05


class Burst:
    """A barrier for `size` attempts on a loop: once connected, they wait for each other, at most a quarter of a second.

    All that wait are sent before the loop reads anything.
    """

    def __init__(self, loop: Loop, size: int) -> None:
        self._missing = size
        self._gates: list[Gate] = []
        self._timer = loop.at(monotonic() + _UNTIL_READY_SECONDS, self._go)

    def arrive(self) -> None:
        """Count one attempt as present, or as one that will never be."""
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
    """Two barriers for `size` attempts in threads: once they are connected, and once they have sent."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size)

    def arrive(self) -> None:
        """Release all that wait: this attempt has finished, or will never be sent."""
        self._barrier.abort()

    def connected(self) -> None:
        """Wait until all are connected, at most a quarter of a second."""
        self._meet(_UNTIL_READY_SECONDS)

    def sent(self) -> None:
        """Wait until all have sent, at most briefly, so that no reply is read earlier."""
        self._meet(_UNTIL_SENT_SECONDS)

    def _meet(self, seconds: float) -> None:
        with suppress(threading.BrokenBarrierError):  # one has waited too long, or has finished
            self._barrier.wait(seconds)
