"""Programs on disk that stand for Python and for the command: what they are told is done by a child of a `Warm`.

Other programs, such as make or a shell script, start them as they would start the real ones, and save the imports. A
signal to such a program goes no further.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.support.processes import Warm

_PROGRAM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as desk:
    desk.connect({address!r})
    order = json.dumps([{name!r}, os.getcwd(), dict(os.environ), sys.argv[1:]])
    socket.send_fds(desk, [order.encode() + b"\\n"], [0, 1, 2])
    sys.exit(int(desk.recv(16)))
"""


class Forwarding:
    """A socket at which the programs leave their orders, and a thread for each order until it is done."""

    def __init__(self, warm: Warm) -> None:
        self._warm = warm
        self._directory = Path(tempfile.mkdtemp())
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._directory / "desk"))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()
        self.python = self._program("python")
        """Runs a script, as `python SCRIPT ARGUMENTS...` does."""
        self.pipeline = self._program("pipeline")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._directory)

    def _program(self, name: str) -> Path:
        path = self._directory / name
        address = str(self._directory / "desk")
        path.write_text(_PROGRAM.format(python=sys.executable, address=address, name=name), encoding="utf-8")
        path.chmod(0o755)
        return path

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, ExitStack() as opened:
            order, descriptors, *_ = socket.recv_fds(connection, 2**16, 3)
            for descriptor in descriptors:
                opened.callback(os.close, descriptor)
            while not order.endswith(b"\n"):
                order += connection.recv(2**16)
            name, directory, environment, arguments = json.loads(order)
            with self._warm.start(
                *(arguments if name == "pipeline" else ()),
                directory=directory,
                environment=environment,
                before=[("tests.support.warm:run_script", arguments)] if name == "python" else (),
                stdin=descriptors[0],
                stdout=descriptors[1],
                stderr=descriptors[2],
            ) as process:
                code = process.wait()
            connection.sendall(str(code if code >= 0 else 128 - code).encode())
