"""The HTTP server below every endpoint of the tests."""

from __future__ import annotations

import socket
from http.server import ThreadingHTTPServer


class WebServer(ThreadingHTTPServer):
    """Takes as many connections at once as a run may open: beyond the usual five, the kernel lets one wait a second.

    A reply leaves at once: else its body waits 40 ms for the client to acknowledge its head.
    """

    request_queue_size = 128

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address
