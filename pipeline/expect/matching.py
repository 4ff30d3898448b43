"""Patterns over answers, with a bound on the time: a process of its own searches, because nothing else can stop it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from typing import IO

SECONDS = 1.0
"""How long a pattern may take for one answer."""

_ALONE_SECONDS = 3.0
"""After which a search ends by itself."""
_STARTUP_SECONDS = 30.0
_PIECE = 65_536
_PROGRAM = """
import json, re, signal, sys
print(flush=True)
for line in sys.stdin:
    pattern, text = json.loads(line)
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))  # whoever asked may be dead
    found = re.search(pattern, text)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(None if found is None else [found[0], found.groupdict()]), flush=True)
"""


class TooSlow(Exception):
    """The pattern took longer than SECONDS."""


class Matcher:
    """Searches texts for patterns in a process that is started when it is first needed, and anew after a time-out."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def search(self, pattern: str, text: str) -> tuple[str, dict[str, str | None]] | None:
        """Return the first match and its named groups; None where there is none. Raises TooSlow."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            answer = self._exchange(process, json.dumps([pattern, text]).encode() + b"\n")
        found = json.loads(answer)
        return None if found is None else (found[0], found[1])

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.close)
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            atexit.register(self.close)
            command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ALONE_SECONDS)]
            # A session of its own: Ctrl-C on the terminal is for the run, which still has answers to judge.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            assert self._process.stdout is not None
            self._read(self._process.stdout, time.monotonic() + _STARTUP_SECONDS)
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], line: bytes) -> bytes:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line)
        process.stdin.flush()
        return self._read(process.stdout, time.monotonic() + SECONDS)

    def _read(self, stream: IO[bytes], deadline: float) -> bytes:
        """Return the next line, which comes in pieces; the process that did not bring it in time is ended."""
        pieces: list[bytes] = []
        while True:
            left = deadline - time.monotonic()
            ready = select.select([stream], [], [], left)[0] if left > 0 else []
            piece = os.read(stream.fileno(), _PIECE) if ready else b""
            if not piece:
                self.close()
                raise TooSlow
            pieces.append(piece)
            if piece.endswith(b"\n"):
                return b"".join(pieces)


MATCHER = Matcher()
