"""One attempt: a request goes out, and one typed result comes back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipeline.endpoints import Endpoint
from pipeline.errors import ErrorKind
from pipeline.limits import Pause
from pipeline.records import Failure, Reply, Request
from pipeline.retry import retry_after
from pipeline.transport import Transport, TransportError

_SHORTEST_SECRET = 8
_INSTEAD = b"[key]"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Task:
    """A request to send, under the number of its claim."""

    number: int
    request: Request


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a task. `result` is None where it was held back unsent because the endpoint had asked for a pause.
    Stamps are Unix seconds, `latency` is in seconds from the first byte sent to the last byte read.
    """

    number: int
    result: Reply | Failure | None
    started_at: float
    finished_at: float
    latency: float


class Client:
    """Sends tasks to one endpoint. Safe from many threads."""

    def __init__(self, endpoint: Endpoint, transport: Transport, pause: Pause, key: str | None) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._pause = pause
        # A shorter key is no secret, and might stand in an answer by chance.
        self._key = key.encode() if key is not None and len(key) >= _SHORTEST_SECRET else None
        self._escaped_key = _escaped(key or "")
        self._escapes = [b"\\u00", *(b"\\" + char.encode() for char in '"/\\' if char in (key or ""))]

    def attempt(self, task: Task, clock: Callable[[], float] = time.monotonic) -> Attempt:
        """Send one task and type what comes back. Raises nothing that the endpoint or the network can cause."""
        body = _ENCODER.encode(self._endpoint.payload(task.request)).encode()
        started_at, start = time.time(), clock()
        if start < self._pause.until:
            return Attempt(task.number, None, started_at, started_at, 0.0)
        result = self._send(body)
        latency = clock() - start
        if isinstance(result, Failure) and result.retry_after is not None:
            self._pause.extend(start + latency + result.retry_after)
        return Attempt(task.number, result, started_at, started_at + latency, latency)

    def _send(self, body: bytes) -> Reply | Failure:
        try:
            raw = self._transport.post(body)
        except TransportError as error:
            billed = error.is_whole and error.kind is not ErrorKind.TLS_ERROR
            return Failure(error.kind, error.message, sent=error.sent, possibly_billed=billed)
        result = self._endpoint.parse(raw.status, raw.headers, self._without_key(raw.body))
        if isinstance(result, Failure):
            wait = retry_after(raw.headers, datetime.now(UTC))
            if wait is not None:
                result = replace(result, retry_after=wait)
        return result

    def _without_key(self, body: bytes) -> bytes:
        """An endpoint may echo the key, in an error or in an answer; it must not reach the journal."""
        if self._key is None:
            return body
        if self._key in body:
            body = body.replace(self._key, _INSTEAD)
        # The search takes four times as long as one for plain text.
        return self._escaped_key.sub(_INSTEAD, body) if any(escape in body for escape in self._escapes) else body

    def abandon(self) -> None:
        """Drop every connection, and end the attempts under way at once."""
        self._transport.abandon()


def _escaped(key: str) -> re.Pattern[bytes]:
    """Finds the key in JSON text with any of its characters escaped, also where that text stands in a JSON string."""
    letters = ((re.escape(char.encode()), re.escape(f"{ord(char):04x}".encode())) for char in key)
    return re.compile(b"".join(rb"(?:%s|\\+(?:%s|u(?i:%s)))" % (char, char, code) for char, code in letters))
