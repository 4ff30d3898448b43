"""The HTTP server below every endpoint of the tests."""

from __future__ import annotations

from http.server import ThreadingHTTPServer


class WebServer(ThreadingHTTPServer):
    """Takes as many connections at once as a run may open: beyond the usual five, the kernel lets one wait a second."""

    request_queue_size = 128
