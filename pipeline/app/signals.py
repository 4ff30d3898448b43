"""SIGINT and SIGTERM: they drain a run that is sending, and end a command that is not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from pipeline.errors import Interrupted
from pipeline.runner import StopRequest

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Handles the signals within a `with` block; outside the main thread, where Python allows no handler, it does
    nothing.
    """

    def __init__(self) -> None:
        self.stop_request = StopRequest()
        self._wake: Callable[[], None] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def draining(self, wake: Callable[[], None]) -> Iterator[None]:
        """While a runner runs: a signal is left for it, and `wake` ends its wait."""
        self._wake = wake
        try:
            yield
        finally:
            self._wake = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._wake is None:
            raise Interrupted(number)
        self.stop_request.ask(number)
        self._wake()
