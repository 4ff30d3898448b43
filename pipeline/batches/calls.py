"""Calls to a provider whose end a signal does not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from pipeline.runner.progress import StopRequest

_LOOK_SECONDS = 0.05

Result = TypeVar("Result")


class CallInterrupted(Exception):
    """A signal came during a call. What the call may leave behind is on disk already."""


class Calls:
    """Makes calls, each in a thread of its own."""

    def __init__(self, stop_request: StopRequest) -> None:
        self._stop_request = stop_request

    def __call__(self, call: Callable[[], Result]) -> Result:
        """Return what the call returns, or raise what it raises; raises CallInterrupted once a signal came."""
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
            if self._stop_request.signal is not None and thread.is_alive():
                raise CallInterrupted
        if failed:
            raise failed[0]
        return found[0]
