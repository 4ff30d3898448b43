"""The engine whose senders are wherever a placement puts them."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from pipeline.client import Attempt, Task
from pipeline.engines.channel import Channel
from pipeline.engines.crew import LONGEST_TURN, Crew, Sender, SenderEnded, error_of
from pipeline.engines.remote.lease import LEASE_SECONDS, Beat, Paused, Renewal
from pipeline.engines.sender import Fault
from pipeline.engines.sender_config import SenderConfig
from pipeline.errors import InvalidInput
from pipeline.limits import Pause

_SECONDS_TO_BEGIN = 120.0
_SECONDS_WITHOUT = 60.0
_SECONDS_AFTER_LEASE = 1.0


class Arrival(Struct, frozen=True):
    """A sender that has connected and proved itself; `place` is the machine that it is on."""

    connection: socket.socket
    number: int
    place: str


class Placement(Protocol):
    """Puts senders on machines. One thread calls it."""

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call this, in any thread, when there is something new. What was called before is not called any more, nor is
        it still under way.
        """

    @property
    def over(self) -> str | None:
        """Why there will be no more senders, and those that there are will end; None while all is well."""

    @property
    def trouble(self) -> str | None:
        """Why the last sender could not be placed or could not begin, if none has since."""

    def arrived(self) -> list[Arrival]:
        """Return the senders that have connected since the last call."""

    def replace(self, number: int) -> None:
        """Put another sender in the place of one that is no longer heard."""

    def end(self) -> None:
        """Place no more senders, and end those that there are."""


class RemoteSender(Sender, kw_only=True):
    """A sender on another machine, or on this one."""

    number: int
    place: str


class RemoteEngine(Crew[RemoteSender]):
    """Sends by senders that connect, up to `config.slots` requests together; `pause` applies to all of them.

    A sender that says nothing for as long as a lease is given up: it can then send nothing more, even if it was only
    frozen or cut off. Senders come and go while the run goes on; without any, the engine has no slots. The constructor
    waits up to `seconds` for the first one, and calls `check` meanwhile, which may raise.

    Raises:
        InvalidInput: from the constructor, if no sender can be placed or begin.
    """

    def __init__(
        self,
        config: SenderConfig,
        placement: Placement,
        pause: Pause,
        warn: Callable[[str], None] = lambda message: None,
        seconds: float = math.inf,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config.slots, warn)
        self._config = config
        self._placement = placement
        self._pause = pause
        self._told = pause.left(0.0)
        self._had_senders_at = time.monotonic()
        self._has_begun = False
        self._causes: list[str] = []
        placement.on_change(self.wake)
        try:
            self._wait_for_first(seconds, check)
        except BaseException:
            self.close()
            raise

    @property
    def over(self) -> str | None:
        """Why nothing more can be sent, though what is in flight may still end; None while all is well."""
        if self._placement.over is not None:
            return self._placement.over
        without = time.monotonic() - self._had_senders_at
        if without < _SECONDS_WITHOUT:
            return None
        cause = (self._causes or [self._placement.trouble or "none has connected"])[-1]
        return f"there has been no sender for {without:.0f} s ({cause})"

    def send(self, tasks: Sequence[Task]) -> None:
        """Give tasks to the senders with the fewest in flight. This never waits."""
        self._tell_pause()
        super().send(tasks)

    def receive(self, timeout: float) -> list[Attempt]:
        """Return every attempt that has ended; wait up to `timeout` seconds for the first."""
        self._admit()
        attempts = super().receive(timeout)
        self._tell_pause()
        if self._senders:
            self._had_senders_at = time.monotonic()
        return attempts

    def close(self) -> None:
        """End all senders, whatever they are doing."""
        self._placement.on_change(lambda: None)
        self._placement.end()
        for arrival in self._placement.arrived():
            arrival.connection.close()
        super().close()

    def _wait_for_first(self, seconds: float, check: Callable[[], None]) -> None:
        give_up = time.monotonic() + min(seconds, _SECONDS_TO_BEGIN)
        while not any(sender.slots for sender in self._senders):
            left = give_up - time.monotonic()
            over = self._placement.over
            if over is not None:
                raise InvalidInput(over)
            if left <= 0:
                if seconds < _SECONDS_TO_BEGIN:
                    return
                cause = self._placement.trouble or "none has connected"
                raise InvalidInput(f"no sender was ready within {_SECONDS_TO_BEGIN:g} s: {cause}")
            check()
            self.receive(min(left, LONGEST_TURN))
        self._has_begun = True

    def _admit(self) -> None:
        """Take in the senders that have connected."""
        for arrival in self._placement.arrived():
            sender = RemoteSender(Channel(arrival.connection), number=arrival.number, place=arrival.place)
            sender.channel.put(self._config)
            sender.channel.put(Paused(self._pause.left(time.monotonic())))
            self._senders.append(sender)

    def _tell_pause(self) -> None:
        """Tell all senders of a longer pause."""
        known = self._pause.left(0.0)
        if known != self._told:
            self._told = known
            for sender in self._senders:
                sender.channel.put(Paused(self._pause.left(time.monotonic())))

    def _hear(self, sender: RemoteSender, message: object) -> None:
        if isinstance(message, Beat):
            sender.channel.put(Renewal(message, time.monotonic(), time.time()))
        elif isinstance(message, Paused):
            for server, seconds in enumerate(message.seconds):
                self._pause.extend(time.monotonic() + seconds, server)
        else:
            super()._hear(sender, message)

    def _fail(self, sender: RemoteSender, fault: Fault, attempts: list[Attempt]) -> None:
        """Continue without a sender whose machine lacks something. Raises its fault if that is of the program, or if
        none has ever begun.
        """
        if fault.kind == "program" or not (self._has_begun or self._has_others(sender)):
            raise error_of(fault)
        self._lose(sender, SenderEnded(f"on {sender.place}: {fault.text}"), attempts)

    def _is_known(self, fault: SenderEnded) -> bool:
        is_known = fault.cause in self._causes
        self._causes.append(fault.cause)
        return is_known

    def _is_waited_for(self, sender: RemoteSender) -> bool:
        return True

    def _most_silent(self, sender: RemoteSender) -> float:
        return LEASE_SECONDS + _SECONDS_AFTER_LEASE

    def _ended(self, sender: RemoteSender) -> SenderEnded:
        return SenderEnded(f"on {sender.place}: its connection was closed")

    def _give_up(self, sender: RemoteSender, attempts: list[Attempt]) -> None:
        self._placement.replace(sender.number)
        self._lose(sender, SenderEnded(f"on {sender.place}: it said nothing for {sender.silent:.0f} s"), attempts)
