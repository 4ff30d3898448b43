"""The main function of a sender process: tasks arrive over one connection, and attempts go back over it."""

from __future__ import annotations

import os
import socket
import traceback
from typing import Any, Literal

from msgspec import Struct

from pipeline.client import Attempt, Client
from pipeline.engines.channel import Channel, receive_first
from pipeline.engines.cores import write_no_core
from pipeline.engines.cycles import look_for_few
from pipeline.engines.sender_config import SenderConfig
from pipeline.errors import InvalidInput, PipelineError
from pipeline.limits import Pause
from pipeline.transport.loop import READ, WRITE


class Fault(Struct, frozen=True):
    """Why a sender cannot continue: the user's input, the system, or a bug (then `text` is the traceback)."""

    kind: Literal["input", "system", "program"]
    text: str


class Capacity(Struct, frozen=True):
    """How many requests a sender can have in flight from now on."""

    slots: int


class Abandon(Struct, frozen=True):
    """The run waits for no attempt any longer: all are to end at once."""


def main(connection_number: int, pause_number: int) -> None:
    """Send what arrives until the connection closes, then exit at once.

    The arguments are file descriptors. The first message received is a SenderConfig, each later one a list of
    tasks, or Abandon. The first message sent is a Capacity, each later one a list of attempts, another Capacity, or a
    Fault.
    """
    write_no_core()
    look_for_few()
    connection = socket.socket(fileno=connection_number)
    try:
        config: SenderConfig = receive_first(connection)
    except (EOFError, OSError):
        os._exit(0)  # the run is over
    channel = Channel(connection)
    sender = None
    try:
        sender = SenderLoop(channel, config.client(Pause.join(pause_number)))
        sender.run()
        os._exit(0)  # the run is over
    except BaseException as error:
        connection.setblocking(True)
        if sender is not None:
            sender.hand_over()  # first what was answered
        channel.put(fault_of(error))
        os._exit(1)


class SenderLoop:
    """Sends requests and talks to the run on one loop. Neither side ever waits for the other."""

    def __init__(self, channel: Channel, client: Client, seconds_between_looks: float = 60.0) -> None:
        self._channel = channel
        self._client = client
        self._seconds_between_looks = seconds_between_looks
        self._ended: list[Attempt] = []
        self._events = READ

    def run(self) -> None:
        """Send what arrives until the connection closes."""
        loop, room = self._client.loop, 0
        loop.watch(self._channel.fileno(), READ, self._ready)
        while not self._channel.is_over:
            self.look()
            self.hand_over()
            if self._client.slots != room:
                room = self._client.slots
                self._channel.put(Capacity(room))
            events = READ | (WRITE if self._channel.has_unsent else 0)
            if events != self._events:
                loop.change(self._channel.fileno(), events, self._ready)
                self._events = events
            loop.turn(self._seconds_between_looks)

    def look(self) -> None:
        """Do what is to be done in each iteration."""

    def take(self, message: Any) -> None:
        """Handle a message of the run: tasks to send, or the end of all that were."""
        if isinstance(message, Abandon):
            self._client.abandon()
        else:
            self._client.start(message, self._add)

    def hand_over(self) -> None:
        """Pass on the attempts that have ended since the last call."""
        if self._ended:
            self._channel.put(self._ended)
            self._ended = []

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._channel.flush()
        if events & READ:
            for message in self._channel.take():
                self.take(message)

    def _add(self, attempt: Attempt) -> None:
        self._ended.append(attempt)


def fault_of(error: BaseException) -> Fault:
    """Return an error as the run is told of it."""
    if isinstance(error, InvalidInput):
        return Fault("input", str(error))
    if isinstance(error, PipelineError):
        return Fault("system", str(error))
    return Fault("program", "".join(traceback.format_exception(error)))
