"""The `pipeline` command as a process of its own: it can be signalled, stopped, killed and cut off from its streams."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tests.support.commands import Result

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("pipeline"))
_INHERITED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Process:
    """A child of a `Warm`, with the methods of `subprocess.Popen` that tests need. `stdout` and `stderr` are None where
    they are no pipes.
    """

    def __init__(self, channel: socket.socket, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self._channel = channel
        self._said = b""
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self.pid = int(self._line(None))

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wait()
        self.close()

    def poll(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(int(self._line(timeout)))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What it says on stdout and stderr, once it has ended. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None]
        said = {stream: bytearray() for stream in streams}
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(_left(end))
                if not ready and _left(end) == 0:
                    raise subprocess.TimeoutExpired("pipeline", timeout or 0)
                for key, _ in ready:
                    part = os.read(key.fd, 2**16)
                    said[key.fileobj] += part  # type: ignore[index]
                    if not part:
                        selector.unregister(key.fileobj)
        self.wait(_left(end))
        return tuple(bytes(said.get(stream, b"")) for stream in (self.stdout, self.stderr))  # type: ignore

    def send_signal(self, number: int) -> None:
        """Send a signal, where it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and its keeper is about to say so
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of the streams."""
        for stream in (self.stdout, self.stderr, self._channel):
            if stream is not None:
                stream.close()

    def _line(self, timeout: float | None) -> bytes:
        """The next line of the keeper."""
        self._channel.settimeout(timeout)
        while b"\n" not in self._said:
            try:
                part = self._channel.recv(64)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("pipeline", timeout or 0) from None
            assert part, "the keeper of the process is gone"
            self._said += part
        line, self._said = self._said.split(b"\n", 1)
        return line


class Warm:
    """Starts the command as children of one process that is ready for it, which takes most of a short run."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                cwd=REPOSITORY,  # which is then the first place to import from
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self,
        *arguments: str,
        directory: Path,
        environment: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        before: Sequence[tuple[str, Sequence[Any]]] = (),
        held: bool = False,
    ) -> Process:
        """Start the command.

        Args:
            stdin, stdout, stderr: a descriptor, or as in the defaults.
            before: functions (`module:name`, arguments) that the child calls before the command begins.
            held: whether one of them stops the child by SIGSTOP, so that it can be looked at.
        """
        order = {
            "arguments": arguments,
            "directory": str(directory),
            "environment": dict(environment),
            "umask": _umask(),
            "ignored": [number for number in _INHERITED if signal.getsignal(number) is signal.SIG_IGN],
            "before": before,
            "held": held,
        }
        pipes = [os.pipe() if stream == subprocess.PIPE else None for stream in (stdout, stderr)]
        writers = [pipe[1] if pipe else stream for pipe, stream in zip(pipes, (stdout, stderr), strict=True)]
        readers = [os.fdopen(pipe[0], "rb") if pipe else None for pipe in pipes]
        ours, theirs = socket.socketpair()
        with open(os.devnull, "rb") as nothing, theirs:
            reader = nothing.fileno() if stdin == subprocess.DEVNULL else stdin
            socket.send_fds(self._control, [b"\n"], [theirs.fileno(), reader, *writers])
        for pipe in filter(None, pipes):
            os.close(pipe[1])
        ours.sendall(json.dumps(order).encode() + b"\n")
        return Process(ours, *readers)

    def run(
        self, *arguments: str, directory: Path, environment: Mapping[str, str], seconds: float = 100.0, **how: Any
    ) -> Result:
        """Run the command to its end; the rest is as for `start`."""
        with self.start(*arguments, directory=directory, environment=environment, **how) as process:
            try:
                out, err = process.communicate(seconds)
            finally:
                process.kill()
        return Result(process.wait(), out.decode(), err.decode())

    def close(self) -> None:
        """End the process; its children go on."""
        self._control.close()
        self._process.wait(10)


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())
