"""One thread that waits for many sockets. An attempt is a coroutine, suspended until what it waits for is there.

Not asyncio: an attempt needs a socket, a moment and a wake-up, and its tasks and futures cost as much again as the
sending itself. `selectors` is epoll on Linux and kqueue on macOS.
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
"""Seconds; neither sockets nor selectors take a time-out beyond 24 days."""

Result = TypeVar("Result")


class Gate:
    """What one routine at a time waits for, by `await gate`."""

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
        """Let the routine that waits go on, here and now."""
        if self._routine is not None:
            self._routine.resume()

    def fail(self, error: Exception) -> None:
        """Let the routine that waits go on with an error, here and now."""
        if self._routine is not None:
            self._routine.throw(error)


class Routine(Generic[Result]):
    """A coroutine under way: it runs until it waits for a gate. `done` gets what it returns.

    What it raises comes out of whoever lets it go on, and in the end out of `Loop.turn`.
    """

    __slots__ = ("_coroutine", "_done", "_gate")

    def __init__(self, coroutine: Coroutine[Gate, None, Result], done: Callable[[Result], None]) -> None:
        self._coroutine = coroutine
        self._done = done
        self._gate: Gate | None = None

    def resume(self) -> None:
        """Go on, or begin."""
        self._go_on(self._coroutine.send, None)

    def throw(self, error: Exception) -> None:
        """Go on with an error in place of what is waited for."""
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
    """A call at a moment, unless it is canceled before."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Call nothing."""
        self.call = None


class Loop:
    """Sockets, timers and calls from other threads. All but `call` belongs to the one thread that calls `turn`."""

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
        """Call `ready` with the events that have come, for as long as they last, for a file descriptor."""
        self._selector.register(number, events, ready)

    def change(self, number: int, events: int, ready: Callable[[int], None]) -> None:
        """Watch a file descriptor that is watched already for other events."""
        self._selector.modify(number, events, ready)

    def forget(self, number: int) -> None:
        """Watch a file descriptor no longer; to be called before it is closed."""
        self._selector.unregister(number)

    def at(self, moment: float, call: Callable[[], None]) -> Timer:
        """Call something at a moment of the monotonic clock."""
        timer = Timer(call)
        heapq.heappush(self._timers, (moment, next(self._numbers), timer))
        return timer

    def call(self, function: Callable[[], None]) -> None:
        """Call something in the next turn. Safe from any thread and in a signal handler."""
        self._calls.append(function)
        with suppress(OSError):  # it is full of such words already, or the loop is closed
            self._waker.send(b"!")

    def turn(self, seconds: float) -> None:
        """Wait until something has come, so long at most, and see to all of it.

        Sockets come before timers: what has arrived by a deadline counts, however late this thread comes to it.
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
        """Let go of everything; nothing is called any more."""
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
