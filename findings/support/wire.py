"""Starts a server of the fresh environment on this machine, asks it, and serves replies for clients to meet."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status, the headers and the body as text."""

    status: int
    headers: Message
    text: str


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def send(url: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """POST the body as JSON (GET where there is none), and return the reply whatever its status.

    Raises OSError when there is no reply.
    """
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    for name, value in {"content-type": "application/json", **(headers or {})}.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Reply(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.headers, error.read().decode())


@contextmanager
def running(command: list[str], port: int, *, seconds: float = 120) -> Iterator[str]:
    """Run a server, give its base URL once it listens, and end it.

    Raises RuntimeError when it exits, or does not listen in time; its log goes into server.log.
    """
    with open("server.log", "ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + seconds
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > until:
                with open("server.log", encoding="utf-8", errors="replace") as log_text:
                    raise RuntimeError("the server did not start:\n" + log_text.read()[-2000:])
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def serving(answer: Callable[[str, Any], tuple[int, dict[str, str], Any]]) -> Iterator[str]:
    """Serve requests, and give the base URL with /v1.

    The function gets the path and the body of a POST (bytes where it is no JSON, None for a GET), and returns status,
    headers and a body: a text as it is sent, or what is to be sent as JSON.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer one request with a body."""
            body = self.rfile.read(int(self.headers["content-length"]))
            self._reply(json.loads(body) if self.headers.get_content_type() == "application/json" else body)

        def do_GET(self) -> None:
            """Answer one request without a body."""
            self._reply(None)

        def _reply(self, body: Any) -> None:
            status, headers, reply = answer(self.path, body)
            payload = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def completion(text: str | None, model: str = "small") -> dict[str, Any]:
    """Return a chat completion as an OpenAI-compatible server sends it."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }  # fmt: skip


def chunk(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    """Return a piece of a streamed chat completion, as an OpenAI-compatible server sends it."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "small",
        "choices": [{"index": 0, "finish_reason": finish_reason, "delta": {"role": "assistant", "content": text}}],
    }  # fmt: skip


def stream(*events: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    """Return a whole stream of these events, as `serving` sends it."""
    texts = [json.dumps(event, ensure_ascii=False) for event in events]
    body = "".join(f"data: {text}\n\n" for text in [*texts, "[DONE]"])
    return 200, {"content-type": "text/event-stream; charset=utf-8"}, body
