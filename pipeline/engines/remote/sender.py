"""The main function of a sender on any machine: it connects to its run, and sends under a lease until that is over."""

from __future__ import annotations

import math
import resource
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from pipeline.client import Attempt, Client, Task
from pipeline.engines.channel import Channel, receive_first
from pipeline.engines.cores import write_no_core
from pipeline.engines.cycles import look_for_few
from pipeline.engines.remote.handshake import Stranger, join
from pipeline.engines.remote.lease import BEAT_SECONDS, Beat, LeasedPause, Paused, Renewal, running_clock
from pipeline.engines.sender import Abandon, SenderLoop, fault_of
from pipeline.engines.sender_config import SenderConfig

_SECONDS_TO_CONNECT = 30.0
_CLOCKS_DIFFER = 1.0


def serve(host: str, port: int, token: bytes, number: int) -> str | None:
    """Send what the run at an address hands over, until it closes the connection.

    Returns why nothing could be sent; None if the run is over. Raises nothing: whatever goes wrong later, the run is
    told over the connection.
    """
    write_no_core()
    look_for_few()
    _allow_open_files()
    try:
        connection = socket.create_connection((host, port), _SECONDS_TO_CONNECT)
    except OSError as error:
        return f"it cannot reach the run at {host}, port {port}: {error.strerror or error}"
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        join(connection, token, number)
        connection.settimeout(None)  # the run may plan for hours
    except Stranger:
        connection.close()
        return f"what listens at {host}, port {port} is not the run"
    except (EOFError, OSError):
        connection.close()
        return None  # the run is over
    send_over(connection)
    return None


def send_over(connection: socket.socket) -> None:
    """Send what the run at the other end of a connection hands over, until it closes that."""
    with connection:
        try:
            config: SenderConfig = receive_first(connection)
        except (EOFError, OSError):
            return  # the run is over
        _send(connection, config)


def _send(connection: socket.socket, config: SenderConfig) -> None:
    channel, pause = Channel(connection), LeasedPause(1 + len(config.other_urls))
    client: Client | None = None
    sender: LeasedSender | None = None
    try:
        client = config.client(pause)
        sender = LeasedSender(channel, client, pause)
        sender.run()
    except Exception as error:
        with suppress(OSError):
            connection.setblocking(True)
            if sender is not None:
                sender.hand_over()  # first what was answered
            channel.put(fault_of(error))
    finally:
        if client is not None:
            client.end()


class LeasedSender(SenderLoop):
    """A sender that asks for its lease every second, and exchanges the endpoint's pauses with the run."""

    def __init__(self, channel: Channel, client: Client, pause: LeasedPause) -> None:
        super().__init__(channel, client, BEAT_SECONDS)
        self._pause = pause
        self._known = pause.left(0.0)
        self._beats_at = -math.inf

    def look(self) -> None:
        """Ask for the lease when it is time, and tell the run of a pause that the endpoint asked for."""
        now = time.monotonic()
        if now >= self._beats_at + BEAT_SECONDS:
            self._beats_at = now
            self._channel.put(Beat(running_clock(), now))
        if self._pause.left(0.0) != self._known:
            self._known = self._pause.left(0.0)
            self._channel.put(Paused(self._pause.left(now)))

    def take(self, message: Any) -> None:
        """Handle a renewal, a pause, tasks to send, or their end."""
        if isinstance(message, Renewal):
            self._pause.renew(message)
        elif isinstance(message, Paused):
            now = time.monotonic()
            self.look()  # what is known only here has to be told, before it is mixed with the run's
            for server, seconds in enumerate(message.seconds):
                self._pause.extend(now + seconds, server)
            self._known = self._pause.left(0.0)
        else:
            super().take(message if isinstance(message, Abandon) else self._dated(message))

    def _dated(self, tasks: Sequence[Task]) -> list[Task]:
        """Return tasks with `send_by` on this machine's clock."""
        return [
            task if task.send_by == math.inf else replace(task, send_by=self._pause.here(task.send_by))
            for task in tasks
        ]

    def _add(self, attempt: Attempt) -> None:
        offset = self._pause.wall_offset
        if abs(offset) > _CLOCKS_DIFFER:
            attempt = attempt._replace(started_at=attempt.started_at + offset, finished_at=attempt.finished_at + offset)
        super()._add(attempt)


def _allow_open_files() -> None:
    """Raise the limit on open files of this process, which sends and does nothing else."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
