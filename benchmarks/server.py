"""The benchmark's endpoint (server.c) as a process, and what it counted."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import BUILD

EXECUTABLE = BUILD / "server"
TLS_EXECUTABLE = BUILD / "server-tls"
CERTIFICATE = Path(__file__).parents[1] / "tests/fixtures/tls/server.pem"
"""What the endpoint shows over TLS; it vouches for itself."""
PATHS = {"dataoorts": "/api/v1", "openai": "/v1/chat/completions"}


@dataclass(frozen=True, slots=True)
class Stats:
    """What the server counted since its reset.

    `first` is when the first request had come in (monotonic seconds, None before there is one), `span` the seconds
    from then to the last reply. `latency_total` is in seconds over all requests, `unique` the number of different
    bodies.
    """

    requests: int
    unique: int
    connections: int
    first: float | None
    span: float
    in_flight_mean: float
    in_flight_peak: int
    latency_total: float


class Server:
    """The endpoint, running while the `with` block does; over TLS where it has a certificate.

    Raises FileNotFoundError where it was not built; `make bench` builds it, and `make bench-tls` the one over TLS.
    """

    def __init__(self, executable: Path = EXECUTABLE, certificate: Path | None = None) -> None:
        words: list[str | Path] = [executable, "0"]
        self._context = None
        if certificate is not None:
            words += [certificate, certificate.with_suffix(".key")]
            self._context = ssl.create_default_context(cafile=certificate)
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.address = f"http{'s' if certificate else ''}://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def url(self, kind: str, prefix: str = "") -> str:
        """Return the address to send to: `kind` is `dataoorts` or `openai`, `prefix` as server.c describes it."""
        return f"{self.address}{prefix}{PATHS[kind]}"

    def reset(self, seed: int = 0) -> None:
        """Begin the count anew, with the latencies of `seed`."""
        self._get(f"/reset?seed={seed}")

    def stats(self) -> Stats:
        """Return what was counted since the last reset."""
        found = self._get("/stats")
        return Stats(**{name: found[name] for name in Stats.__slots__})

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=10, context=self._context) as reply:
            return json.load(reply)
