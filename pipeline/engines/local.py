"""The local engine: a thread for each request in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue

from pipeline.client import Attempt, Task
from pipeline.errors import PipelineError
from pipeline.limits import burst

_STACK_BYTES = 512 * 1024
_LIMITS_ON_THREADS = "raise the limit on processes (ulimit -u), memory (ulimit -v) or the container's pids"


class LocalEngine:
    """Up to `slots` threads, started as they are needed. `close` ends what `attempt` is doing by way of `abandon`.

    A fault of the program inside a thread is raised from `receive`. Where the system starts no further thread, the
    engine goes on with those that it has, and says so to `warn`.

    Raises:
        PipelineError: the system does not start a single thread.
    """

    def __init__(
        self, attempt: Callable[[Task], Attempt], slots: int, abandon: Callable[[], None],
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:  # fmt: skip
        self._attempt = attempt
        self._slots = slots
        self._warn = warn
        self._abandon = abandon
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._results: SimpleQueue[Attempt | BaseException | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        # Two counts, because `send` and `receive` may be called from different threads.
        self._sent = 0
        self._received = 0
        self._start_thread()

    @property
    def slots(self) -> int:
        """How many requests can be in flight."""
        return self._slots

    def send(self, tasks: Sequence[Task]) -> None:
        """Start sending; never waits as long as no more than `slots` tasks are under way. Tasks that come while none is
        under way, as at the start and after a pause, go out together.
        """
        is_burst = self._sent == self._received and len(tasks) > 1
        self._sent += len(tasks)
        while len(self._threads) < min(self._slots, self._sent - self._received):
            self._start_thread()
        meetings = burst(min(len(tasks), len(self._threads))) if is_burst else ()
        for task in tasks:
            self._tasks.put(replace(task, burst=meetings) if meetings else task)

    def receive(self, timeout: float) -> list[Attempt]:
        """Every attempt that has ended; waits up to `timeout` seconds for the first."""
        attempts: list[Attempt] = []
        try:
            found = self._results.get(timeout=timeout) if timeout > 0 else self._results.get_nowait()
            while True:
                if isinstance(found, BaseException):
                    if not attempts:
                        raise found
                    self._results.put(found)  # first hand over what was answered
                    break
                if found is not None:
                    attempts.append(found)
                found = self._results.get_nowait()
        except Empty:
            pass
        self._received += len(attempts)
        return attempts

    def wake(self) -> None:
        """End a wait in `receive` at once; safe in a signal handler."""
        self._results.put(None)

    def fail(self, error: BaseException) -> None:
        """Have `receive` raise this."""
        self._results.put(error)

    def close(self) -> None:
        """Cut off what is under way; the threads end by themselves."""
        for _ in self._threads:
            self._tasks.put(None)
        self._abandon()

    def _start_thread(self) -> None:
        """Start one more, or learn that there are no more to be had."""
        # Daemon threads: a request that hangs in the resolver must not keep the program from ending.
        previous = threading.stack_size(_STACK_BYTES)
        try:
            thread = threading.Thread(target=self._work, name="sender", daemon=True)
            thread.start()
        except RuntimeError as error:
            started = len(self._threads)
            if not started:
                raise PipelineError(f"the system starts no thread to send from: {_LIMITS_ON_THREADS}") from error
            self._slots = started
            self._warn(f"the system starts no more than {started} threads, so no more requests are in flight:"
                       f" {_LIMITS_ON_THREADS}, or set limits.concurrency: {started}")  # fmt: skip
            return
        finally:
            threading.stack_size(previous)
        self._threads.append(thread)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                result: Attempt | BaseException = self._attempt(task)
            except BaseException as error:
                result = error
            self._results.put(result)
