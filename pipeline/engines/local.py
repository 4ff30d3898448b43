"""The local engine: one thread of this process sends everything."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from pipeline.client import Attempt, Task
from pipeline.errors import PipelineError
from pipeline.transport import Loop


class EngineClient(Protocol):
    """What the engine needs of a client; see `pipeline.client.Client`."""

    @property
    def loop(self) -> Loop:
        """The loop that the engine runs."""

    @property
    def slots(self) -> int:
        """The maximum number of requests in flight."""

    def start(self, tasks: Sequence[Task], done: Callable[[Attempt], None], /) -> None:
        """Begin to send."""

    def abandon(self) -> None:
        """End all attempts at once."""

    def end(self) -> None:
        """Release everything."""


class LocalEngine:
    """Runs the client's loop in a thread. `close` ends what is in flight by the client's `abandon`.

    A bug in the thread is raised from `receive`. `warn` is called when the client's slots become fewer.

    Raises:
        PipelineError: the system does not start the thread.
    """

    def __init__(self, client: EngineClient, warn: Callable[[str], None] = lambda message: None) -> None:
        self._client = client
        self._warn = warn
        self._slots = client.slots
        self._ended: list[Attempt] = []
        self._results: SimpleQueue[list[Attempt] | BaseException | None] = SimpleQueue()
        self._is_closed = False
        try:
            # A daemon thread never keeps the program from exiting.
            threading.Thread(target=self._work, name="sender", daemon=True).start()
        except RuntimeError as error:
            client.end()
            raise PipelineError(f"the system starts no thread to send from: {LIMITS_ON_THREADS}") from error

    @property
    def slots(self) -> int:
        """The maximum number of requests in flight."""
        if self._client.slots < self._slots:
            self._slots = self._client.slots
            self._warn(fewer_threads(self._slots))
        return self._slots

    @property
    def over(self) -> str | None:
        """Why nothing more can be sent: nothing keeps this thread from it but a bug, which `receive` raises."""
        return None

    def send(self, tasks: Sequence[Task]) -> None:
        """Start sending. This never waits."""
        self._client.loop.call(lambda: self._start(tasks))

    def receive(self, timeout: float) -> list[Attempt]:
        """Return every attempt that has ended; wait up to `timeout` seconds for the first."""
        attempts: list[Attempt] = []
        try:
            found = self._results.get(timeout=timeout) if timeout > 0 else self._results.get_nowait()
            while True:
                if isinstance(found, BaseException):
                    if not attempts:
                        raise found
                    self._results.put(found)  # first hand over what was answered
                    break
                attempts += found or ()
                found = self._results.get_nowait()
        except Empty:
            pass
        return attempts

    def wake(self) -> None:
        """End a wait in `receive` at once. Safe in a signal handler."""
        self._results.put(None)

    def abandon(self) -> None:
        """End all attempts at once; `receive` returns them."""
        self._client.abandon()

    def close(self) -> None:
        """Abort what is in flight; the thread ends by itself."""
        self._client.abandon()
        self._client.loop.call(self._end)

    def _start(self, tasks: Sequence[Task]) -> None:
        self._client.start(tasks, self._add)

    def _add(self, attempt: Attempt) -> None:
        self._ended.append(attempt)

    def _end(self) -> None:
        self._is_closed = True

    def _hand_over(self) -> None:
        if self._ended:
            self._results.put(self._ended)
            self._ended = []

    def _work(self) -> None:
        try:
            while not self._is_closed:
                self._client.loop.turn(math.inf)
                self._hand_over()
        except BaseException as error:
            self._hand_over()
            self._results.put(error)
        finally:
            self._client.end()


LIMITS_ON_THREADS = "raise the limit on processes (ulimit -u), memory (ulimit -v) or the container's pids"


def fewer_threads(slots: int) -> str:
    """Return the warning that the system starts no more threads."""
    return (
        f"the system starts no more than {slots} threads to send from, so no more requests are in flight:"
        f" {LIMITS_ON_THREADS}, or set limits.concurrency: {slots}"
    )
