"""How fast one Python process can send at all: socket_loop.py PROMPTS URL MODEL CONCURRENCY

The requests are made beforehand, as bytes. One thread writes them to raw sockets, waits for all with epoll, and takes a
reply for whole when as many bytes have come as its Content-Length says; nothing else of it is looked at. Prints the
requests a second and the CPU seconds a request, both of the loop alone.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from benchmarks.limits.exchange import HEADERS, body_of

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def messages(prompts: list[str], url: str, model: str) -> list[bytes]:
    """Return the whole requests as they go over the wire."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: {HEADERS['Authorization']}\r\nContent-Length: "
    )
    bodies = (json.dumps(body_of(prompt, url, model)) for prompt in prompts)
    return [f"{head}{len(body.encode())}\r\n\r\n{body}".encode() for body in bodies]


def send_all(waiting: Iterator[bytes], host: str, port: int, concurrency: int) -> None:
    """Send every message and read every reply. Raises ConnectionError where the server leaves."""
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    received: dict[int, bytes] = {}
    for _, message in zip(range(concurrency), waiting, strict=False):
        connection = socket.create_connection((host, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[connection.fileno()] = connection
        received[connection.fileno()] = b""
        poll.register(connection, select.EPOLLIN)
        connection.sendall(message)
    while sockets:
        for number, _ in poll.poll():
            connection = sockets[number]
            data = received[number] + connection.recv(2**18)
            if not data:
                raise ConnectionError("the server left")
            head, _, body = data.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            if found is None or len(body) < int(found[1]):
                received[number] = data
                continue
            received[number] = b""
            following = next(waiting, None)
            if following is None:
                poll.unregister(number)
                sockets.pop(number).close()
            else:
                connection.sendall(following)


def main(prompts: str, url: str, model: str, concurrency: str) -> None:
    """Run the whole program."""
    made = messages(pq.read_table(prompts)["prompt"].to_pylist(), url, model)
    parts = urlsplit(url)
    cpu, started = time.process_time(), time.perf_counter()
    send_all(iter(made), parts.hostname or "", parts.port or 80, int(concurrency))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"requests_per_second": len(made) / seconds, "cpu_per_request": cpu / len(made)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
