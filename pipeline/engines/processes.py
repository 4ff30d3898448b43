"""The engine whose senders are separate processes, so that sending and recording each have a core.

Tasks go to the senders and attempts come back, in batches. A sender stores nothing and exits when its connection
closes, so none outlives the run, however the run ends. The run never waits for a sender: one that is stopped or stuck
delays only the tasks that it was given.
"""

from __future__ import annotations

import math
import os
import selectors
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pipeline.client import Attempt, Task
from pipeline.engines.local import fewer_threads
from pipeline.engines.sender import Capacity, Fault
from pipeline.engines.sender_config import SenderConfig
from pipeline.engines.sender_process import SECONDS_TO_END, SenderEnded, SenderProcess, cannot_start
from pipeline.errors import ErrorKind, InvalidInput, PipelineError
from pipeline.limits import Pause
from pipeline.records import Failure
from pipeline.wording import counted

_SECONDS_TO_BEGIN = 60.0
_SECONDS_OF_GRACE = 30.0
"""How long after `timeout_seconds` a sender may return a result. The watchdog of a run waits longer."""
_LONGEST_TURN = 1.0


class ProcessEngine:
    """Sends from several processes, up to `config.slots` requests together; `pause` applies to all of them.

    If a sender exits, or is stuck far beyond the time-out of an attempt, each of its tasks in flight becomes a failure
    that was possibly billed. The other senders continue, and `warn` is called. Starting takes at most `seconds`; if no
    sender is ready by then, the engine has no slots. Meanwhile `check` is called, which may raise.

    Raises:
        InvalidInput: the configuration cannot be used (see `SenderConfig.client`).
        PipelineError: from the constructor, if a sender cannot start; from `receive`, if the last one has exited.
    """

    def __init__(
        self,
        config: SenderConfig,
        processes: int,
        pause: Pause,
        warn: Callable[[str], None] = lambda message: None,
        seconds: float = math.inf,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._senders: list[SenderProcess] = []
        self._slots = config.slots
        self._most_silent = config.timeout_seconds + _SECONDS_OF_GRACE
        self._warn = warn
        self._fault: Exception | None = None
        try:
            self._woken, self._waker = os.pipe()
        except OSError as error:
            raise cannot_start(error) from error
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        shared = -1
        try:
            shared = pause.share()
            for _ in range(processes):
                self._senders.append(SenderProcess.start(config, shared))
            self._wait_until_ready(seconds, check)
        except OSError as error:
            self.close()
            raise cannot_start(error) from error
        except BaseException:
            self.close()
            raise
        finally:
            with suppress(OSError):
                os.close(shared)

    @property
    def slots(self) -> int:
        """The maximum number of requests in flight, over all senders."""
        return min(self._slots, sum(sender.slots or 0 for sender in self._senders))

    def send(self, tasks: Sequence[Task]) -> None:
        """Give tasks to the senders with the fewest in flight. This never waits."""
        shares: list[list[Task]] = [[] for _ in self._senders]
        handed = time.time()
        for task in tasks:
            index = min(range(len(shares)), key=self._load)
            shares[index].append(task)
            self._senders[index].in_flight[task.number] = handed
        for sender, share in zip(self._senders, shares, strict=True):
            if share:
                sender.channel.put(share)

    def receive(self, timeout: float) -> list[Attempt]:
        """Return every attempt that has ended; wait up to `timeout` seconds for the first."""
        if self._fault is not None:
            raise self._fault
        attempts: list[Attempt] = []
        try:
            begun = time.monotonic()
            self._wait(timeout)
            # Count at most one iteration, so that a program that was itself stopped considers no sender stuck.
            waited = min(time.monotonic() - begun, _LONGEST_TURN)
            for sender in list(self._senders):
                self._take(sender, attempts, waited)
        except Exception as fault:
            if not attempts:
                raise
            self._fault = fault  # first hand over what was answered
        return attempts

    def wake(self) -> None:
        """End a wait in `receive` at once. Safe in a signal handler."""
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._waker, b"!")

    def close(self) -> None:
        """End all senders, whatever they are doing."""
        for sender in self._senders:
            sender.channel.close()
        give_up = time.monotonic() + SECONDS_TO_END
        for sender in self._senders:
            sender.end(give_up - time.monotonic())
        self._senders = []
        for end in (self._woken, self._waker):
            with suppress(OSError):
                os.close(end)

    def _load(self, index: int) -> tuple[bool, int]:
        """Return how busy a sender is: whether it is full, and its tasks in flight."""
        sender = self._senders[index]
        return len(sender.in_flight) >= (sender.slots or 0), len(sender.in_flight)

    def _wait_until_ready(self, seconds: float, check: Callable[[], None]) -> None:
        """Wait for the first sender. If it can send, the others can too; they join when they are ready."""
        give_up = time.monotonic() + min(seconds, _SECONDS_TO_BEGIN)
        while all(sender.slots is None for sender in self._senders):
            left = give_up - time.monotonic()
            if left <= 0:
                if seconds < _SECONDS_TO_BEGIN:
                    return
                raise PipelineError(
                    f"a process to send from was not ready within {_SECONDS_TO_BEGIN:g} s; set limits.processes: 1"
                )
            check()
            self._wait(min(left, _LONGEST_TURN))
            for sender in list(self._senders):
                self._take(sender, [], 0.0)

    def _wait(self, timeout: float) -> None:
        """Wait until a sender has sent something or `wake` is called. Meanwhile send what is still unsent."""
        with selectors.PollSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for sender in self._senders:
                writes = selectors.EVENT_WRITE if sender.channel.has_unsent else 0
                selector.register(sender.channel, selectors.EVENT_READ | writes, sender)
            for key, events in selector.select(timeout):
                if key.data is None:
                    with suppress(BlockingIOError):
                        os.read(self._woken, 1024)
                elif events & selectors.EVENT_WRITE:
                    key.data.channel.flush()

    def _take(self, sender: SenderProcess, attempts: list[Attempt], waited: float) -> None:
        messages = sender.channel.take()
        is_waited_for = sender.slots is None or bool(sender.in_flight)
        sender.silent = 0.0 if messages or not is_waited_for else sender.silent + waited
        for message in messages:
            if isinstance(message, Fault):
                self._fail(sender, message, attempts)
                return
            if isinstance(message, Capacity):
                self._set_capacity(sender, message.slots)
                continue
            for attempt in message:
                del sender.in_flight[attempt.number]
            attempts += message
        if sender.channel.is_over:
            self._lose(sender, sender.ended(), attempts)
        elif sender.silent > (_SECONDS_TO_BEGIN if sender.slots is None else self._most_silent):
            self._give_up(sender, attempts)

    def _fail(self, sender: SenderProcess, fault: Fault, attempts: list[Attempt]) -> None:
        """Continue without a sender that lacks resources while others remain; else raise its fault."""
        if fault.kind == "system" and self._has_others(sender):
            self._lose(sender, SenderEnded(fault.text), attempts)
            return
        raise {"input": InvalidInput, "system": PipelineError}.get(fault.kind, RuntimeError)(fault.text)

    def _give_up(self, sender: SenderProcess, attempts: list[Attempt]) -> None:
        """End a silent sender, unless it is the last one that can send: the run's watchdog handles that."""
        if sender.slots is None or self._has_others(sender):
            sender.end(0.0)
            self._lose(sender, SenderEnded(f"it said nothing for {sender.silent:.0f} s and was ended"), attempts)

    def _has_others(self, sender: SenderProcess) -> bool:
        """Return whether another sender can send or is starting."""
        return any(other.slots != 0 for other in self._senders if other is not sender)

    def _set_capacity(self, sender: SenderProcess, slots: int) -> None:
        if sender.slots is not None:
            self._warn(fewer_threads(slots))
        sender.slots = slots

    def _lose(self, sender: SenderProcess, fault: SenderEnded, attempts: list[Attempt]) -> None:
        """Continue without a sender. Raises `fault` if no other is left."""
        if not self._has_others(sender):
            raise fault
        self._senders.remove(sender)
        sender.channel.close()
        self._warn(
            f"{fault.cause}; {counted(len(sender.in_flight), 'request')} may have been billed, and will be sent again"
        )
        now = time.time()
        failure = Failure(ErrorKind.CONNECTION_ERROR, fault.cause, possibly_billed=True)
        attempts += [
            Attempt(number, failure, handed, now, max(0.0, now - handed)) for number, handed in sender.in_flight.items()
        ]
