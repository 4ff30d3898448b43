"""Do something in a thread of its own, so that Ctrl-C asks it to stop instead of breaking into it.

The caller's signal handlers stay as they are: Python's own raises KeyboardInterrupt in the main thread, which only
waits here. A notebook interrupts its kernel in the same way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pipeline.runner import StopRequest

T = TypeVar("T")


def in_background(action: Callable[[StopRequest], T]) -> T:
    """Return what the action returns, or raise what it raises.

    Each KeyboardInterrupt is passed on to the action as a request to stop. Once the action has ended, the first of them
    is raised again.
    """
    stop_request, outcome = StopRequest(), _Outcome[T]()
    thread = threading.Thread(target=outcome.of, args=(action, stop_request), name="pipeline-run")
    interrupted: KeyboardInterrupt | None = None
    thread.start()
    while not outcome.is_known.is_set():
        try:
            outcome.is_known.wait()
        except KeyboardInterrupt as interrupt:
            interrupted = interrupted or interrupt
            stop_request.ask(signal.SIGINT)
    thread.join()
    if interrupted is not None:
        raise interrupted from outcome.error
    return outcome.get()


class _Outcome(Generic[T]):
    """What becomes of an action: its value, or the exception that ended it."""

    def __init__(self) -> None:
        self.is_known = threading.Event()
        self.error: BaseException | None = None
        self._values: list[T] = []

    def of(self, action: Callable[[StopRequest], T], stop_request: StopRequest) -> None:
        try:
            self._values.append(action(stop_request))
        except BaseException as error:
            self.error = error
        finally:
            self.is_known.set()

    def get(self) -> T:
        if self.error is not None:
            raise self.error
        return self._values[0]
