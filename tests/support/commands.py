"""The command in processes that need no start: each is forked from one that has imported the package already.

A forked command has its own directory, environment, limits, signals and global state, as any process has. What it lacks
is the start of the interpreter, so a test of the start itself (imports, variables such as PYTHONPATH) asks for a real
one. `Forks` is the tests' side; this file run as a program is the one that forks.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

_LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_NPROC)
_READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "ARROW_", "OPENBLAS", "TZ", "LANG", "LC_")
"""How the variables begin that an interpreter or a library reads once, before a forked command could set them."""
_MOST = 1 << 20


def starts_alike(environment: dict[str, str]) -> bool:
    """Return whether a command with this environment may be forked from a process that was started with ours."""
    return _read_at_start(environment) == _read_at_start(dict(os.environ))


def _read_at_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


class Forks:
    """A process that forks commands."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def run(
        self, arguments: list[str], directory: Path, environment: dict[str, str], seconds: float
    ) -> tuple[int, bytes, bytes]:
        """Run a command to its end; return its code as subprocess does, its stdout and its stderr.

        Raises subprocess.TimeoutExpired.
        """
        umask = os.umask(0)
        os.umask(umask)
        wanted = {
            "argv": arguments, "cwd": str(directory), "environment": environment, "umask": umask,
            "limits": [resource.getrlimit(limit) for limit in _LIMITS],
        }  # fmt: skip
        pipes = [os.pipe() for _ in range(3)]
        socket.send_fds(self._socket, [json.dumps(wanted).encode()], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        out, err, told = (os.fdopen(read, "rb") for read, _ in pipes)
        with out, err, told:
            pid = int(told.readline())
            late = threading.Event()

            def stop() -> None:
                late.set()
                os.kill(pid, signal.SIGKILL)

            timer = threading.Timer(seconds, stop)
            timer.start()
            try:
                errors: list[bytes] = []
                reader = threading.Thread(target=lambda: errors.append(err.read()))
                reader.start()
                output = out.read()
                reader.join()
                code = int(told.readline())
            finally:
                timer.cancel()
        if late.is_set():
            raise subprocess.TimeoutExpired(arguments, seconds, output, errors[0])
        return code, output, errors[0]

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait(20)


def _serve(given: socket.socket) -> None:
    """Fork commands until the tests close their end; return in each command, ready to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a command is reaped by the kernel
    while True:
        words, fds, _, _ = socket.recv_fds(given, _MOST, 3)
        if not words:
            os._exit(0)
        if os.fork() == 0:
            break
        for fd in fds:
            os.close(fd)
    given.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err, told = fds
    if pid := os.fork():
        os.close(out)
        os.close(err)
        os.write(told, b"%d\n" % pid)
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    _become(json.loads(words), out, err)
    os.close(told)


def _become(wanted: dict[str, Any], out: int, err: int) -> None:
    for fd, stream in ((out, 1), (err, 2)):
        os.dup2(fd, stream)
        os.close(fd)
    os.umask(wanted["umask"])
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    for limit, values in zip(_LIMITS, wanted["limits"], strict=True):
        resource.setrlimit(limit, values)
    sys.argv = wanted["argv"]


if __name__ == "__main__":
    from pipeline.cli import main
    from pipeline.cli.memory import keep_little

    keep_little()  # before the libraries: their allocator is chosen as they are imported
    import pipeline.app.run
    import pipeline.app.validate  # noqa: F401

    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
