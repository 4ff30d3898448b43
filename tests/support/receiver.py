"""A server that hears POSTs and keeps what it was told."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler

from tests.support.web import WebServer


class Receiver:
    """Keeps the path, headers and body of each POST in `posts`. It replies with `status`, and with the header Location
    where `location` is set; while `gate` is not set, it replies byte by byte and to no end.
    """

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.location: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append((self.path, dict(self.headers), body))
                if not receiver.gate.is_set():
                    self.wfile.write(b"HTTP/1.0 200 O")
                    while not receiver.gate.wait(0.05):
                        self.wfile.write(b"O")
                    self.wfile.write(b"K\r\n\r\n")
                    return
                self.send_response(receiver.status)
                if receiver.location is not None:
                    self.send_header("Location", receiver.location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    self.close_connection = True

        self._server = WebServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of every request, and stop."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
