"""What the engines whose senders are elsewhere have in common: each sender is at the other end of a channel.

Tasks go to the senders and attempts come back, in batches. The run never waits for a sender: one that is stopped or
stuck delays only the tasks that it was given.
"""

from __future__ import annotations

import os
import selectors
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from msgspec import Struct, field

from pipeline.client import Attempt, Task
from pipeline.engines.channel import Channel
from pipeline.engines.local import fewer_threads
from pipeline.engines.sender import Abandon, Capacity, Fault
from pipeline.errors import ErrorKind, InvalidInput, PipelineError
from pipeline.records import Failure
from pipeline.wording import counted

LONGEST_TURN = 1.0
_MANY = 16
_SMALL_SHARE = 1 / 4
_COLLECT_SECONDS = 0.001


class Sender(Struct):
    """A sender at the other end of a channel, and its tasks in flight."""

    channel: Channel
    slots: int | None = None
    """How many requests it can have in flight; None until it is ready."""
    in_flight: dict[int, float] = field(default_factory=dict)
    """When each task was handed over, in Unix seconds, by its number."""
    silent: float = 0.0
    """For how many seconds it has sent nothing while something was expected of it."""


class SenderEnded(PipelineError):
    """A sender ended; `cause` says how."""

    def __init__(self, cause: str) -> None:
        self.cause = f"a process that sends came to an end ({cause})"
        super().__init__(
            f"{self.cause}; every acknowledged answer is safe: run the job again, and if memory was short, with a lower"
            " limits.concurrency or limits.processes: 1"
        )


Member = TypeVar("Member", bound=Sender)


class Crew(ABC, Generic[Member]):
    """Sends by several senders, up to `slots` requests together.

    If a sender ends, or is silent for too long, each of its tasks in flight becomes a failure that was possibly billed.
    The other senders continue, and `warn` is called. Raises OSError if no pipe can be opened.
    """

    def __init__(self, slots: int, warn: Callable[[str], None]) -> None:
        self._senders: list[Member] = []
        self._slots = slots
        self._warn = warn
        self._fault: Exception | None = None
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    @abstractmethod
    def _most_silent(self, sender: Member) -> float:
        """Return for how many seconds a sender may be silent; it is silent only while something is expected of it."""

    @abstractmethod
    def _is_waited_for(self, sender: Member) -> bool:
        """Return whether something is expected of a sender."""

    @abstractmethod
    def _ended(self, sender: Member) -> SenderEnded:
        """Return how a sender ended, once its connection is closed."""

    @abstractmethod
    def _give_up(self, sender: Member, attempts: list[Attempt]) -> None:
        """Handle a sender that was silent for too long."""

    def _is_known(self, fault: SenderEnded) -> bool:
        """Return whether the user was told before that a sender ended so."""
        return False

    def _hear(self, sender: Member, message: object) -> None:
        """Handle a message that is neither attempts nor known to all senders."""
        raise TypeError(f"a sender sent {message!r}")

    @property
    def slots(self) -> int:
        """The maximum number of requests in flight, over all senders."""
        return min(self._slots, sum(sender.slots or 0 for sender in self._senders))

    @property
    def over(self) -> str | None:
        """Why nothing more can be sent, though what is in flight may still end; None while all is well."""
        return None

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
            self._take_all(attempts, min(time.monotonic() - begun, LONGEST_TURN))
            if self._is_small(len(attempts)):
                time.sleep(_COLLECT_SECONDS)
                self._take_all(attempts, _COLLECT_SECONDS)
        except Exception as fault:
            if not attempts:
                raise
            self._fault = fault  # first hand over what was answered
        return attempts

    def wake(self) -> None:
        """End a wait in `receive` at once. Safe in a signal handler."""
        with suppress(OSError):  # the pipe is full of wake-ups already, or the engine is closed
            os.write(self._waker, b"!")

    def abandon(self) -> None:
        """End all attempts at once; `receive` returns them."""
        for sender in self._senders:
            sender.channel.put(Abandon())

    def close(self) -> None:
        """Close every connection, which ends the senders."""
        for sender in self._senders:
            sender.channel.close()
        self._senders = []
        for end in (self._woken, self._waker):
            with suppress(OSError):
                os.close(end)

    def _load(self, index: int) -> tuple[bool, int]:
        """Return how busy a sender is: whether it is full, and its tasks in flight."""
        sender = self._senders[index]
        return len(sender.in_flight) >= (sender.slots or 0), len(sender.in_flight)

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

    def _is_small(self, ended: int) -> bool:
        """Return whether it is worth waiting a moment for more attempts: each group that is received costs a commit."""
        in_flight = ended + sum(len(sender.in_flight) for sender in self._senders)
        return in_flight >= _MANY and 0 < ended < _SMALL_SHARE * in_flight

    def _take_all(self, attempts: list[Attempt], waited: float) -> None:
        for sender in list(self._senders):
            self._take(sender, attempts, waited)

    def _take(self, sender: Member, attempts: list[Attempt], waited: float) -> None:
        messages = sender.channel.take()
        sender.silent = 0.0 if messages or not self._is_waited_for(sender) else sender.silent + waited
        for message in messages:
            if isinstance(message, list):
                for attempt in message:
                    del sender.in_flight[attempt.number]
                attempts += message
            elif isinstance(message, Fault):
                self._fail(sender, message, attempts)
                return
            elif isinstance(message, Capacity):
                self._set_capacity(sender, message.slots)
            else:
                self._hear(sender, message)
        if sender.channel.is_over:
            self._lose(sender, self._ended(sender), attempts)
        elif sender.silent > self._most_silent(sender):
            self._give_up(sender, attempts)

    def _fail(self, sender: Member, fault: Fault, attempts: list[Attempt]) -> None:
        """Continue without a sender that lacks resources while others remain; else raise its fault."""
        if fault.kind == "system" and self._has_others(sender):
            self._lose(sender, SenderEnded(fault.text), attempts)
            return
        raise error_of(fault)

    def _has_others(self, sender: Member) -> bool:
        """Return whether another sender can send or is starting."""
        return any(other.slots != 0 for other in self._senders if other is not sender)

    def _set_capacity(self, sender: Member, slots: int) -> None:
        if sender.slots is not None:
            self._warn(fewer_threads(slots))
        sender.slots = slots

    def _lose(self, sender: Member, fault: SenderEnded, attempts: list[Attempt]) -> None:
        """Continue without a sender."""
        self._senders.remove(sender)
        sender.channel.close()
        if sender.in_flight or not self._is_known(fault):
            lost = counted(len(sender.in_flight), "request")
            self._warn(f"{fault.cause}; {lost} may have been billed, and will be sent again")
        now = time.time()
        failure = Failure(ErrorKind.CONNECTION_ERROR, fault.cause, possibly_billed=True)
        attempts += [
            Attempt(number, failure, handed, now, max(0.0, now - handed)) for number, handed in sender.in_flight.items()
        ]


def error_of(fault: Fault) -> Exception:
    """Return the error that a sender's fault is in the run."""
    kinds: dict[str, type[Exception]] = {"input": InvalidInput, "system": PipelineError}
    return kinds.get(fault.kind, RuntimeError)(fault.text)
