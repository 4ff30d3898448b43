"""HTTP/1.1 over asyncio streams: reading requests, and sending replies correctly or in one of many broken ways.

Only what the simulator needs: no pipelining, no trailers, no upgrade.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus

from msgspec import Struct, field

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 256 * 1024 * 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PAUSE_BEFORE_RESET_SECONDS = 0.05


class Unreadable(Exception):
    """The data is not a readable HTTP request. `status` is the answer, after which the connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpRequest(Struct, frozen=True):
    """One request, read to its last byte. The names of `headers` are in lower case, `path` has no query,
    which stands in `query`."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    keeps_connection: bool
    query: str = ""


class Connection(Struct, frozen=True):
    """The two directions of one client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def is_closed(self) -> bool:
        """Whether the client has disconnected, as far as the kernel knows."""
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.is_closing()

    async def send(self, data: bytes) -> None:
        """Write the bytes and wait until there is room for more. Raises ConnectionError if the client is gone."""
        if self.is_closed:
            raise ConnectionResetError("the client has gone")
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        link: socket.socket = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def complete(connection: Connection, reply: Reply) -> None:
    """Send the reply correctly."""
    await connection.send(_head(reply, f"Content-Length: {len(reply.body)}") + reply.body)


async def hang(connection: Connection, reply: Reply) -> None:
    """Send nothing, until the client gives up."""
    while await connection.reader.read(1024):
        pass


async def reset_before(connection: Connection, reply: Reply) -> None:
    """Reset the connection before the first byte."""
    connection.reset()


async def reset_amid(connection: Connection, reply: Reply) -> None:
    """Send half of the body, then reset the connection."""
    await truncate(connection, reply)
    await asyncio.sleep(_PAUSE_BEFORE_RESET_SECONDS)  # a reset overtakes bytes that the client has not read
    connection.reset()


async def truncate(connection: Connection, reply: Reply) -> None:
    """Announce the full body and send half of it."""
    await connection.send(_head(reply, f"Content-Length: {len(reply.body)}") + reply.body[: len(reply.body) // 2])


async def truncate_chunk(connection: Connection, reply: Reply) -> None:
    """Announce a chunk as long as the body and send half of it."""
    size = f"{len(reply.body):x}\r\n".encode()
    await connection.send(_head(reply, "Transfer-Encoding: chunked") + size + reply.body[: len(reply.body) // 2])


async def endless(connection: Connection, reply: Reply) -> None:
    """Send the body as a chunk repeatedly until the client gives up."""
    chunk = f"{len(reply.body):x}\r\n".encode() + reply.body + b"\r\n"
    await connection.send(_head(reply, "Transfer-Encoding: chunked"))
    while True:
        await connection.send(chunk)
        await asyncio.sleep(0)  # drain returns at once while the buffer has room; the other connections need a turn


async def streamed(connection: Connection, reply: Reply) -> None:
    """Send each event of the body as a chunk."""
    await connection.send(_head(reply, "Transfer-Encoding: chunked"))
    for event in reply.body.split(b"\n\n")[:-1]:
        await connection.send(b"%x\r\n%s\n\n\r\n" % (len(event) + 2, event))
        await asyncio.sleep(0)
    await connection.send(b"0\r\n\r\n")


def dripping(seconds: float) -> Sender:
    """Return a sender of one byte of the body in that many seconds."""

    async def drip(connection: Connection, reply: Reply) -> None:
        await connection.send(_head(reply, f"Content-Length: {len(reply.body)}"))
        for position in range(len(reply.body)):
            await asyncio.sleep(seconds)
            await connection.send(reply.body[position : position + 1])

    return drip


class Reply(Struct, frozen=True):
    """A reply. `status` is None if no status line is ever sent; the sender adds the framing header.

    If `is_complete` is False, the client never gets all of it, and the connection is closed.
    """

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    send: Sender = complete
    is_complete: bool = True


Sender = Callable[[Connection, Reply], Awaitable[None]]


def json_reply(status: int, value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Make a reply whose body is the value's JSON in UTF-8."""
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, body)


def metrics_reply(running: int, waiting: int) -> Reply:
    """How many requests are worked on and how many wait, in Prometheus' text format under vLLM's names."""
    text = f"vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\n"
    return Reply(200, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}, text.encode())


def stream_reply(events: Iterable[object]) -> Reply:
    """Make a reply of server-sent events, each the JSON of a value, or a text as it is."""
    lines = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events]
    return Reply(200, {"Content-Type": "text/event-stream; charset=utf-8"}, "".join(lines).encode(), streamed)


async def read_request(connection: Connection) -> HttpRequest | None:
    """Return the next request, or None if the client closed the connection first. Raises Unreadable."""
    try:
        head = await connection.reader.readuntil(b"\r\n\r\n")
        method, target, version, headers = _parse_head(head)
        if headers.get("expect", "").lower() == "100-continue":
            await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _read_body(connection.reader, headers)
    except asyncio.LimitOverrunError:
        raise Unreadable(431, "the head of the request is too large") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    wish = headers.get("connection", "").lower()
    keeps = "close" not in wish if version == "HTTP/1.1" else "keep-alive" in wish
    path, _, query = target.partition("?")
    return HttpRequest(method, path, headers, body, keeps, query)


def _parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Unreadable(400, "the first line is no HTTP/1.1 request")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Unreadable(400, "a header line is malformed")
        headers[name.lower()] = value.strip()
    method, target, version = parts
    return method, target, version, headers


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise Unreadable(400, "Content-Length is no number")
    if int(length) > BODY_LIMIT:
        raise Unreadable(413, "the body is too large")
    return await reader.readexactly(int(length))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.partition(b";")[0].strip(), 16)
        except ValueError:
            raise Unreadable(400, "a chunk's size is no number") from None
        if size < 0 or len(body) + size > BODY_LIMIT:
            raise Unreadable(413, "the body is too large")
        chunk = await reader.readexactly(size + 2)
        if not chunk.endswith(b"\r\n"):
            raise Unreadable(400, "a chunk is longer than its size")
        if size == 0:
            return bytes(body)
        body += chunk[:-2]


def _head(reply: Reply, framing: str) -> bytes:
    status = reply.status or 0
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}", framing]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
