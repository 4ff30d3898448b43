"""A provider with a Files and a Batches API that answers at once, for measurements: batch_provider.py BYTES

Prints its address first. Each line of a batch gets an answer of BYTES characters. Files are kept on disk.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_CUSTOM_ID = re.compile(rb'"custom_id":"([0-9a-f]+)"')
_PIECE = 1 << 20
_LINE = (
    b'{"id":"batch_req_1","custom_id":"%s","response":{"status_code":200,"request_id":"req_1","body":%s},"error":null}'
    b"\n"
)


def _body(length: int) -> bytes:
    """Return an answer as such a provider sends it."""
    message = {"role": "assistant", "content": ("The river is old. " * (length // 18 + 1))[:length], "refusal": None}
    usage = {
        "prompt_tokens": 60,
        "completion_tokens": 160,
        "total_tokens": 220,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
        "system_fingerprint": "fp_1",
    }
    return json.dumps(body).encode()


class Provider(ThreadingHTTPServer):
    """The provider; `directory` is for its files."""

    daemon_threads = True

    def __init__(self, directory: Path, length: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory
        self.body = _body(length)
        self.batches: dict[str, dict[str, Any]] = {}

    def upload(self, stream: Any, length: int) -> str:
        """Keep a form with a file as the answers to its lines; what is no line has no answer."""
        name = f"file-{len(list(self.directory.iterdir()))}"
        left, rest = length, b""
        with (self.directory / name).open("wb") as file:
            while left:
                piece = stream.read(min(_PIECE, left))
                left -= len(piece)
                *lines, rest = (rest + piece).split(b"\n")
                found = filter(None, map(_CUSTOM_ID.search, lines))
                file.writelines(_LINE % (match[1], self.body) for match in found)
        return name

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make a batch that has ended already."""
        name = f"batch_{len(self.batches)}"
        with (self.directory / asked["input_file_id"]).open("rb") as file:
            lines = sum(1 for _ in file)
        counts = {"total": lines, "completed": lines, "failed": 0}
        self.batches[name] = {
            **asked,
            "id": name,
            "status": "completed",
            "created_at": 1_700_000_000,
            "output_file_id": asked["input_file_id"],
            "request_counts": counts,
        }
        return self.batches[name]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if self.path.endswith("/files"):
            self._send({"id": self.server.upload(self.rfile, length)})
        else:
            self._send(self.server.create(json.loads(self.rfile.read(length))))

    def do_GET(self) -> None:
        *_, name, last = self.path.partition("?")[0].split("/")
        if last == "content":
            path = self.server.directory / name
            self._head(path.stat().st_size)
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    self.wfile.write(piece)
        elif name == "batches":
            self._send(self.server.batches[last])
        else:
            self._send({"data": list(reversed(self.server.batches.values())), "has_more": False})

    def _send(self, document: object) -> None:
        body = json.dumps(document).encode()
        self._head(len(body))
        self.wfile.write(body)

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the process is ended."""
    with tempfile.TemporaryDirectory() as directory, Provider(Path(directory), int(sys.argv[1])) as provider:
        print(f"http://127.0.0.1:{provider.server_port}/v1", flush=True)
        provider.serve_forever()


if __name__ == "__main__":
    main()
