"""One sender process: how it is started, what it inherits, and how it is ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pipeline.engines.channel import Channel
from pipeline.engines.crew import Sender, SenderEnded
from pipeline.engines.sender_config import SenderConfig
from pipeline.errors import PipelineError

SECONDS_TO_END = 2.0

# The same module path as in this process; nothing is added from the working directory.
_BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from pipeline.engines.sender import main; main({connection}, {pause})"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LONG_SECRET = 8
# Makes glibc return freed memory sooner, but not what each larger reply needs anew: the system clears it page by page.
# Values from the environment take precedence.
_LITTLE_MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(128 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**20),
}


class SenderProcess(Sender, kw_only=True):
    """A sender that is a process of this machine."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, config: SenderConfig, pause: int) -> SenderProcess:
        """Start a sender process; `pause` is the file descriptor of the shared pause. Raises OSError."""
        ours, theirs = socket.socketpair()
        code = _BOOTSTRAP.format(path=sys.path, connection=theirs.fileno(), pause=pause)
        # Only the main process handles signals. A sender starts with them blocked, so that none can end it early.
        held_before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                pass_fds=(theirs.fileno(), pause),
                env=without_secrets(config.secrets, os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held_before)
            theirs.close()
        channel = Channel(ours)
        channel.put(config)
        return cls(channel, process=process)

    def end(self, seconds: float) -> int | None:
        """Wait up to `seconds` for the process to exit, then kill it. Return its exit code, None if even that fails."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(max(0.0, seconds))
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(SECONDS_TO_END)
        return None

    def ended(self) -> SenderEnded:
        """Return how the process exited, once its connection is closed."""
        code = self.end(SECONDS_TO_END)
        if code is None:
            return SenderEnded("it cannot even be killed")
        return SenderEnded(f"killed by signal {-code}" if code < 0 else f"exit code {code}")


def cannot_start(error: OSError) -> PipelineError:
    """Return the error for a process that the system does not start."""
    return PipelineError(f"no process can be started to send from: {error.strerror}; set limits.processes: 1")


def without_secrets(secrets: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of what sends: all but variables with a secret, which it gets over its connection."""
    kept = dict(_LITTLE_MEMORY)
    for name, value in environ.items():
        if not any(_holds(value, secret) for secret in secrets):
            kept[name] = value
    return kept


def _holds(value: str, secret: str) -> bool:
    """Return whether a text is the secret, or contains it and it is too long to be a coincidence."""
    return bool(secret) and (value.strip() == secret or (len(secret) >= _LONG_SECRET and secret in value))
