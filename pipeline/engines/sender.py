"""What runs in a process that only sends: tasks come in over one connection, and attempts go back over it."""

from __future__ import annotations

import os
import socket
import threading
import traceback
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.client import Attempt, Task
from pipeline.engines.channel import hear, tell
from pipeline.engines.cores import write_no_core
from pipeline.engines.local import LocalEngine
from pipeline.engines.sending import Sending
from pipeline.errors import InvalidInput, PipelineError
from pipeline.limits import Pause

_SECONDS_BETWEEN_LOOKS = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a sender cannot go on: the user's input, the system, or a fault of the program (then `text` is its trace)."""

    kind: Literal["input", "system", "program"]
    text: str


@dataclass(frozen=True, slots=True)
class Room:
    """How many requests a sender can have in flight from now on."""

    slots: int


def main(connection_number: int, pause_number: int) -> None:
    """Send what comes in until the connection ends, and this process with it, at once.

    The arguments are file descriptors. The first message in is a Sending, each other one a list of tasks; the first
    message out is a Room, each other one a list of attempts, another Room, or a Fault.
    """
    write_no_core()
    connection = socket.socket(fileno=connection_number)
    try:
        sending: Sending = _hear(connection)
        client = sending.client(Pause.join(pause_number))
        engine = LocalEngine(client.attempt, sending.slots, client.abandon)
        room = engine.slots
        _tell(connection, Room(room))
        threading.Thread(target=_take_in, args=(connection, engine), name="tasks", daemon=True).start()
        while True:
            attempts = engine.receive(_SECONDS_BETWEEN_LOOKS)
            if attempts:
                _tell(connection, attempts)
            if engine.slots != room:
                room = engine.slots
                _tell(connection, Room(room))
    except BaseException as error:
        _tell(connection, _fault(error))
        os._exit(1)


def _take_in(connection: socket.socket, engine: LocalEngine) -> None:
    """In a thread of its own, so that the other side never waits for what it sends."""
    try:
        while True:
            tasks: list[Task] = _hear(connection)
            engine.send(tasks)
    except BaseException as error:
        engine.fail(error)


def _hear(connection: socket.socket) -> Any:
    try:
        return hear(connection)
    except (EOFError, OSError):
        os._exit(0)  # the run is over


def _tell(connection: socket.socket, message: list[Attempt] | Room | Fault) -> None:
    try:
        tell(connection, message)
    except OSError:
        os._exit(0)  # nobody is there to hear of it


def _fault(error: BaseException) -> Fault:
    if isinstance(error, InvalidInput):
        return Fault("input", str(error))
    if isinstance(error, PipelineError):
        return Fault("system", str(error))
    return Fault("program", "".join(traceback.format_exception(error)))
