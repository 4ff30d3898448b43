"""An event loop: one thread waits for many sockets. An attempt is a coroutine, suspended until what it awaits happens.

Not asyncio: an attempt needs only sockets, timers and wake-ups, and asyncio's tasks and futures would cost as much
again as the sending itself. `selectors` is epoll on Linux and kqueue on macOS.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from time import monotonic
from typing import Any, Generic, TypeVar

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

LONGEST_WAIT = 1e6
"""Seconds. Neither sockets nor selectors accept a time-out beyond 24 days."""

Result = TypeVar("Result")


class Gate:
    """An event that one routine at a time waits for, with `await gate`."""

    __slots__ = ("_routine",)

    def __init__(self) -> None:
        self._routine: Routine[Any] | None = None

    def __await__(self) -> Generator[Gate, None, None]:
        yield self

    @property
    def is_awaited(self) -> bool:
        """Whether a routine waits."""
        return self._routine is not None

    def open(self) -> None:
        """Resume the waiting routine, in this call."""
        if self._routine is not None:
            self._routine.resume()

    def fail(self, error: Exception) -> None:
        """Resume the waiting routine with an error, in this call."""
        if self._routine is not None:
            self._routine.throw(error)


class Routine(Generic[Result]):
    """A running coroutine: it runs until it waits for a gate. `done` gets its return value.

    An exception that it raises propagates to whoever resumed it, and in the end out of `Loop.turn`.
    """

    __slots__ = ("_coroutine", "_done", "_gate")

    def __init__(self, coroutine: Coroutine[Gate, None, Result], done: Callable[[Result], None]) -> None:
        self._coroutine = coroutine
        self._done = done
        self._gate: Gate | None = None

    def resume(self) -> None:
        """Start or continue."""
        self._go_on(self._coroutine.send, None)

    def throw(self, error: Exception) -> None:
        """Continue with an error in place of the awaited event."""
        self._go_on(self._coroutine.throw, error)

    def _go_on(self, step: Callable[[Any], Gate], value: Exception | None) -> None:
        if self._gate is not None:
            self._gate._routine = None
        try:
            self._gate = step(value)
        except StopIteration as end:
            self._gate = None
            self._done(end.value)
        else:
            self._gate._routine = self


class Timer:
    """A call at a given time, unless it is canceled first."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Call nothing."""
        self.call = None


class Loop:
    """Sockets, timers and calls from other threads. All but `call` belongs to the thread that calls `turn`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._calls: deque[Callable[[], None]] = deque()
        self.watch(self._woken.fileno(), READ, self._take_wakes)

    def watch(self, number: int, events: int, ready: Callable[[int], None]) -> None:
        """Call `ready` with the pending events of a file descriptor in each iteration (level-triggered)."""
        self._selector.register(number, events, ready)

    def change(self, number: int, events: int, ready: Callable[[int], None]) -> None:
        """Change the events for which a file descriptor is watched."""
        self._selector.modify(number, events, ready)

    def forget(self, number: int) -> None:
        """Stop watching a file descriptor. Must be called before it is closed."""
        self._selector.unregister(number)

    def at(self, moment: float, call: Callable[[], None]) -> Timer:
        """Call a function at a time of the monotonic clock."""
        timer = Timer(call)
        heapq.heappush(self._timers, (moment, next(self._numbers), timer))
        return timer

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the next iteration. Safe from any thread and in a signal handler."""
        self._calls.append(function)
        with suppress(OSError):  # it is full of wake-ups already, or the loop is closed
            self._waker.send(b"!")

    def turn(self, seconds: float) -> None:
        """Run one iteration: wait up to `seconds` for events, and handle all of them.

        Sockets come before timers: what has arrived by a deadline counts, however late this thread runs.
        """
        self._make_calls()
        for key, events in self._selector.select(self._patience(seconds)):
            key.data(events)
        self._make_calls()
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                timer.call()

    def close(self) -> None:
        """Release everything. Nothing is called afterwards."""
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def _make_calls(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def _patience(self, seconds: float) -> float:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        if self._timers:
            seconds = min(seconds, self._timers[0][0] - monotonic())
        return max(0.0, min(seconds, LONGEST_WAIT))

    def _take_wakes(self, events: int) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)
