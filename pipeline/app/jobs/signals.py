"""SIGINT, SIGTERM and SIGHUP: they drain a run that is sending, and end a command that is not."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from pipeline.errors import SECONDS_BETWEEN_SIGNALS, Interrupted

if TYPE_CHECKING:
    from pipeline.runner import StopRequest

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Received(BaseException):
    """Raised where a signal ends what the main thread is doing. No `except Exception` on the way takes it for a fault
    of its own, such as a row's.
    """


class Signals:
    """Handles the signals within a `with` block, which a signal ends with Interrupted, whatever is done in it.

    Outside the main thread, where Python allows no handler, it does nothing. A hangup that is ignored, as under
    `nohup`, stays ignored. What comes right after the first signal is the same one, sent twice: within this block, and
    within one around it.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._first_at: float | None = None
        self._drain: Callable[[int], None] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._handle:
                outer = getattr(handler, "__self__", None)
                if isinstance(outer, Signals):
                    outer._first_at = self._first_at
                signal.signal(number, handler)
        if kind is not SystemExit:
            # Also where a library swallowed it, or made an error of its own of it.
            self.check()

    def check(self) -> None:
        """Raise Interrupted where a signal came that was not left to a drain."""
        if self._received is not None:
            raise Interrupted(self._received) from None

    @contextmanager
    def draining(self, request: StopRequest, wake: Callable[[], None]) -> Iterator[None]:
        """Leave signals to a runner while it runs; `wake` ends its wait."""

        def drain(number: int) -> None:
            request.ask(number)
            wake()

        self._drain = drain
        try:
            self.check()
            yield
        finally:
            self._drain = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
        elif now - self._first_at <= SECONDS_BETWEEN_SIGNALS:
            return
        if self._drain is not None:
            self._drain(number)
        else:
            self._received = self._received or number
            raise _Received


def ignore_signals() -> None:
    """Ignore signals from now on: only the result is still to be printed."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
