"""A server of raw sockets, which sends what a script says, however wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TLS = Path(__file__).parents[1] / "fixtures" / "tls"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Peer:
    """The server's side of one connection."""

    socket: socket.socket
    number: int
    stopped: threading.Event
    requests: list[bytes]

    def receive(self) -> bytes:
        """Reads one whole request, and gives its body; empty at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0")
        while len(body) < int(length.partition(b":")[2]):
            piece = self.socket.recv(2**20)
            if not piece:
                return b""
            body += piece
        self.requests.append(head + b"\r\n\r\n" + body)
        return body or b"(empty)"

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self, data: bytes) -> None:
        for byte in data:
            self.send(bytes([byte]))
            self.pause(0.02)

    def pause(self, seconds: float = 5) -> None:
        self.stopped.wait(seconds)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@dataclass
class Server:
    """What was seen: every request as received, and how many connections there were."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1?a=b"

    @property
    def tls_url(self) -> str:
        return f"https://localhost:{self.port}/api/v1"


Script = Callable[[Peer], None]


@contextlib.contextmanager
def serving(script: Script, *, tls: bool = False) -> Iterator[Server]:
    """Runs the script for each connection, in a thread of its own."""
    stopped = threading.Event()
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    server = Server(listener.getsockname()[1])

    def answer(plain: socket.socket, number: int) -> None:
        sock = plain
        with contextlib.suppress(OSError):
            plain.settimeout(10)
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
                sock = context.wrap_socket(plain, server_side=True)
            script(Peer(sock, number, stopped, server.requests))
        sock.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                server.connections += 1
                sockets.append(sock)
                threads.append(threading.Thread(target=answer, args=(sock, server.connections)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(
                    socket.SHUT_RDWR
                )  # where the client keeps the connection, nothing else would end its script
        for thread in threads:
            thread.join()


def always(reply: bytes) -> Script:
    """Gives this reply to each request, and keeps the connection."""

    def script(peer: Peer) -> None:
        while peer.receive():
            peer.send(reply)

    return script


def once(reply: bytes) -> Script:
    """Gives this reply to one request, and closes."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(reply)

    return script


def sized(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
