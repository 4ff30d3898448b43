"""Places senders by Ray, from a process of its own: that is the driver of the Ray job, and the run is not.

Where the control store of a cluster is gone, Ray ends its driver with exit code 1, and nothing can hold it. So the
process with the journal is none. That also leaves the run's signal handlers and stdout alone, and Ray starts while the
run plans.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.engines.remote.door import Door
from pipeline.engines.remote.engine import Arrival
from pipeline.errors import InvalidInput, PipelineError
from pipeline.records import JsonObject

_BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from pipeline.engines.ray.process import main; main()"
_SECONDS_TO_END = 10.0


class Wish(Struct, frozen=True):
    """Where senders are to be: in which cluster, how many, and whether only on this machine.

    Without an `address` it is the cluster that this machine belongs to, else one that is started here; with "local" it
    is always that. Without a number of `senders` there is one on each node, and at least two.
    """

    address: str | None = None
    senders: int | None = None
    only_here: bool = False


def require_ray() -> None:
    """Raise InvalidInput if Ray is not installed. This does not import it."""
    if importlib.util.find_spec("ray") is None:
        raise InvalidInput(
            "--engine ray: Ray is not installed; install the extra: pip install 'llm-batch-pipeline[ray]'"
        )


class RayPlacement:
    """The process that talks to Ray, and the door through which the senders come; see `remote.engine.Placement`.

    `environ` is the environment of that process, and of a cluster that it starts: it must hold no secret.

    Raises:
        PipelineError: the process cannot be started.
    """

    def __init__(self, wish: Wish, environ: Mapping[str, str]) -> None:
        self._lock = threading.RLock()
        self._changed: Callable[[], None] = lambda: None
        self._door: Door | None = None
        self._places: dict[int, str] = {}
        self._arrived: list[Arrival] = []
        self._is_ending = False
        self._over: str | None = None
        self._trouble: str | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP.format(path=sys.path), json.dumps(asdict(wish))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(environ),
                start_new_session=True,  # a signal to the run's group is for the run
                text=True,
            )
        except OSError as error:
            raise PipelineError(f"the process that talks to Ray cannot be started: {error.strerror}") from error
        threading.Thread(target=self._listen, name="ray", daemon=True).start()

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call this, in any thread, when there is something new."""
        with self._lock:
            self._changed = changed

    @property
    def over(self) -> str | None:
        """Why there will be no more senders; None while all is well."""
        return self._over

    @property
    def trouble(self) -> str | None:
        """Why the last sender could not be placed or could not begin, if none has since."""
        return self._trouble

    def arrived(self) -> list[Arrival]:
        """Return the senders that have connected since the last call."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
            return arrived

    def replace(self, number: int) -> None:
        """Put another sender in the place of one that is no longer heard."""
        self._tell({"replace": number})

    def end(self) -> None:
        """Place no more senders, and end those that there are. This does not wait."""
        with self._lock:
            self._is_ending = True
            if self._door is not None:
                self._door.close()
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def wait(self) -> None:
        """Wait for the process that talks to Ray to end, as long as that may take. Call `end` first."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # a cluster that it started ends with it
        self._process.wait()

    def _tell(self, message: JsonObject) -> None:
        assert self._process.stdin is not None
        with self._lock, suppress(OSError, ValueError):  # it is gone, which `_listen` finds
            self._process.stdin.write(f"{json.dumps(message)}\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._lock:
                self._hear(json.loads(line))
                self._changed()
        code = self._process.wait()
        with self._lock:
            if self._over is None and not self._is_ending:
                self._over = f"the process that talks to Ray came to an end ({_ending(code)})"
            self._changed()

    def _hear(self, message: JsonObject) -> None:
        if "node" in message and not self._is_ending:
            self._open_door(message["node"])
        elif "placed" in message:
            self._places[message["placed"]] = message["place"]
        elif "trouble" in message:
            self._trouble = message["trouble"]
        elif "over" in message:
            self._over = message["over"]

    def _open_door(self, host: str) -> None:
        try:
            self._door = Door(host, self._enter)
        except OSError as error:
            self._over = f"no sender can connect to this machine at {host}, its address in Ray: {error.strerror}"
            return
        host, port = self._door.address
        self._tell({"host": host, "port": port, "token": self._door.token.hex()})

    def _enter(self, connection: socket.socket, number: int) -> None:
        with self._lock:
            if self._is_ending:
                connection.close()
                return
            self._arrived.append(Arrival(connection, number, self._places.get(number, "?")))
            self._trouble = None
            self._changed()


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
