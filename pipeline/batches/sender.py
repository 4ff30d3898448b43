"""The loop that buys by batches: collect what has ended, put the next rows into a batch, wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pipeline.batches.api import Refused, Unanswered
from pipeline.batches.calls import CallInterrupted
from pipeline.batches.desk import Desk
from pipeline.batches.incoming import Incoming
from pipeline.batches.orders import Orders
from pipeline.batches.outgoing import Outgoing
from pipeline.endings import StopKind
from pipeline.runner.progress import Progress, Stop, StopRequest
from pipeline.wording import counted

_TICK_SECONDS = 0.5


class BatchSender:
    """Buys rows by batches, and collects those that are out. `run` or `cancel` may be called once.

    Args:
        outgoing: puts rows into batches; None where those that are out are only collected.
        waits: whether to wait for their end.
    """

    def __init__(
        self,
        desk: Desk,
        incoming: Incoming,
        outgoing: Outgoing | None,
        orders: Orders,
        *,
        waits: bool,
        stop_request: StopRequest,
        observe: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = desk.book
        self._calls = desk.calls
        self._incoming = incoming
        self._outgoing = outgoing
        self._poll_seconds = desk.poll_seconds
        self._waits = waits
        self._orders = orders
        self._stop_request = stop_request
        self._observe = observe
        self._clock = clock
        self._woken = threading.Event()

    def wake(self) -> None:
        """End a wait at once; safe in a signal handler."""
        self._woken.set()

    def run(self) -> Stop | None:
        """Buy until every row has an outcome or something stops the run; returns what stopped it."""
        return self._guarded(self._run)

    def cancel(self, seconds: float) -> tuple[int, Stop | None]:
        """Ask for every open batch to be canceled, wait so long for their ends, and collect what was answered. Returns
        how many were asked for, and what stopped it.
        """
        asked, until = 0, self._clock() + seconds

        def work() -> None:
            nonlocal asked
            for _ in self._incoming.cancel():
                asked += 1
            while self._book.batches and self._clock() < until:
                if not self._incoming.advance():
                    self._sleep(min(self._poll_seconds, _TICK_SECONDS))

        stop = self._guarded(work)
        return asked, stop

    def _guarded(self, work: Callable[[], Stop | None]) -> Stop | None:
        try:
            stop = work()
        except Refused as refusal:
            stop = Stop(refusal.kind, str(refusal))
        except Unanswered as error:
            stop = Stop(StopKind.OUTAGE, str(error))
        except CallInterrupted:
            stop = self._asked_to_stop()
        self._book.fail_held()
        self._book.commit()
        self._show()
        return stop

    def _run(self) -> Stop | None:
        has_news = False
        while True:
            if (stop := self._asked_to_stop()) is not None:
                return stop
            has_moved = self._incoming.advance()
            if self._outgoing is not None:
                has_moved = self._outgoing.form(try_again=has_moved or has_news) or has_moved
            self._show()
            if not self._book.batches and (self._outgoing is None or not self._outgoing.has_more):
                return None
            if not self._book.batches and self._outgoing is not None and self._outgoing.over_budget is not None:
                return Stop(StopKind.COST_CAP, self._outgoing.over_budget)
            if self._book.batches and not self._waits and not has_moved:
                lines, batches = len(self._book.claims), len(self._book.batches)
                rows = f"{counted(lines, 'row')} {'is' if lines == 1 else 'are'} waiting"
                words = f"{rows} in {'a batch' if batches == 1 else f'{batches:,} batches'}"
                return Stop(StopKind.BATCH_WAITING, words)
            has_news = not has_moved and self._sleep(self._poll_seconds)

    def _asked_to_stop(self) -> Stop | None:
        if self._clock() >= self._orders.deadline:
            return Stop(StopKind.DEADLINE, "limits.deadline_seconds is over; the batches go on at the provider")
        return self._stop_request.stop()

    def _sleep(self, seconds: float) -> bool:
        """Wait; whoever watches hears of the run meanwhile. Returns whether an order ended the wait. Raises
        CallInterrupted once the run is to end.
        """
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if self._orders.take_news():
                return True
            self._woken.wait(min(left, _TICK_SECONDS, max(0.0, self._orders.deadline - self._clock())))
            self._woken.clear()
            self._calls.look()
            self._show()
        return False

    def _show(self) -> None:
        progress = self._book.progress
        progress.in_flight = len(self._book.claims)
        progress.in_doubt_usd = self._book.worst_usd
        progress.paused_seconds = self._calls.paused_seconds
        self._observe(progress)
