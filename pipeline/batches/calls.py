"""Calls to a provider, and what a run heeds while it makes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.batches.orders import Orders
from pipeline.journal import Changes, Journal
from pipeline.limits import Pause
from pipeline.runner.progress import StopRequest

_LOOK_SECONDS = 0.05

Result = TypeVar("Result")


class CallInterrupted(Exception):
    """A signal came during a call, or the deadline. What the call may leave behind is on disk already."""


class Calls:
    """Makes calls, each in a thread of its own, whose end neither a signal nor the deadline of `orders` waits for.

    Meanwhile `poll` is called with the time and the orders, to follow what comes in, and the `pause` that the provider
    asks for is put on disk, for later runs.
    """

    def __init__(
        self,
        stop_request: StopRequest,
        journal: Journal,
        pause: Pause,
        orders: Orders,
        poll: Callable[[float, Orders], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._stop_request = stop_request
        self._journal = journal
        self._pause = pause
        self._recorded = pause.until
        self._orders = orders
        self._poll = poll
        self._clock = clock
        self._wall_clock = wall_clock

    @property
    def paused_seconds(self) -> float:
        """For how long the provider wants no further call."""
        return max(0.0, self._pause.until - self._clock())

    def __call__(self, call: Callable[[], Result]) -> Result:
        """Return what the call returns, or raise what it raises; raises CallInterrupted once the run is to end."""
        found: list[Result] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                found.append(call())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="batch call", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
            self._heed()
            if self._is_over and thread.is_alive():
                raise CallInterrupted
        self._heed()  # what came with the end of the call, which may have ended since the last look
        if failed:
            raise failed[0]
        return found[0]

    def look(self) -> None:
        """Heed what has come in; for whoever is busy for long without a call. Raises CallInterrupted once the run is
        to end.
        """
        self._heed()
        if self._is_over:
            raise CallInterrupted

    @property
    def _is_over(self) -> bool:
        return self._stop_request.signal is not None or self._clock() >= self._orders.deadline

    def _heed(self) -> None:
        self._poll(self._clock(), self._orders)
        if (until := self._pause.until) > self._recorded:
            self._recorded = until
            now = self._wall_clock()
            self._journal.commit(Changes(pause=(now, now + until - self._clock())))
