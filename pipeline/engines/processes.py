"""Senders in processes of their own, so that sending and recording each have a core.

What crosses the seam is tasks one way and attempts the other, in batches. A sender keeps nothing: it ends with its
connection, so none outlives the run, however that ended.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue

from pipeline.client import Attempt, Task
from pipeline.engines.sender import Fault
from pipeline.engines.sending import Sending
from pipeline.errors import InvalidInput, PipelineError
from pipeline.limits import Pause

# With the modules found where this process found them, and nothing added from the directory that the command runs in.
_BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from pipeline.engines.sender import main; main({connection}, {pause})"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_START = 60.0
_SECONDS_TO_END = 5.0
_LONG_KEY = 8
# Has glibc keep less of what the threads of a sender have freed; what the environment says otherwise stands.
_LITTLE_MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}


class _Sender:
    """A process that sends. Two threads of this one hand over its tasks and take in what comes back, so that one that
    stands still (SIGSTOP, a frozen cgroup, swap) holds up nobody else.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process = process
        self.connection = connection
        self.in_flight = 0
        self.tasks: SimpleQueue[list[Task]] = SimpleQueue()

    def start(self, results: SimpleQueue[_Result]) -> None:
        """Begin to hand over tasks and to take in results: (the sender, its message), None in its place at the end."""
        for work in (self._hand_over, self._take_in):
            threading.Thread(target=work, args=(results,), name="sender", daemon=True).start()

    def cut(self) -> None:
        """End what the threads wait for, and the process, which ends with its connection."""
        with suppress(OSError), socket.socket(fileno=os.dup(self.connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)

    def _hand_over(self, results: SimpleQueue[_Result]) -> None:
        with suppress(OSError):  # it has come to an end, which the other thread tells
            while True:
                self.connection.send_bytes(pickle.dumps(self.tasks.get()))

    def _take_in(self, results: SimpleQueue[_Result]) -> None:
        try:
            while True:
                results.put((self, pickle.loads(self.connection.recv_bytes())))
        except (EOFError, OSError):
            results.put((self, None))


_Result = tuple[_Sender, list[Attempt] | Fault | None] | None


class ProcessEngine:
    """So many processes that send side by side, up to `sending.slots` requests together; `pause` holds for all of them.

    Raises:
        InvalidInput: nothing can be sent so (as `Sending.client` does).
        PipelineError: here and from `send` and `receive`, where a sender cannot start, or has come to an end.
    """

    def __init__(self, sending: Sending, processes: int, pause: Pause) -> None:
        self._senders: list[_Sender] = []
        self._results: SimpleQueue[_Result] = SimpleQueue()
        shared = pause.share()
        try:
            for _ in range(processes):
                self._senders.append(_start(sending, shared))
            for sender in self._senders:
                sender.start(self._results)
            for _ in self._senders:
                self._await_start()
        except BaseException:
            self.close()
            raise
        finally:
            os.close(shared)

    def send(self, tasks: Sequence[Task]) -> None:
        """Hand tasks to the senders that have the fewest under way."""
        shares: list[list[Task]] = [[] for _ in self._senders]
        for task in tasks:
            index = min(range(len(shares)), key=lambda one: self._senders[one].in_flight)
            shares[index].append(task)
            self._senders[index].in_flight += 1
        for sender, share in zip(self._senders, shares, strict=True):
            if share:
                sender.tasks.put(share)

    def receive(self, timeout: float) -> list[Attempt]:
        """Every attempt that has ended; waits up to `timeout` seconds for the first."""
        attempts: list[Attempt] = []
        try:
            found = self._results.get(timeout=timeout) if timeout > 0 else self._results.get_nowait()
            while True:  # all that is there, so that one commit serves it
                if found is not None:
                    if attempts and not isinstance(found[1], list):
                        self._results.put(found)  # first hand over what was answered
                        break
                    attempts += _attempts(*found)
                found = self._results.get_nowait()
        except Empty:
            pass
        return attempts

    def wake(self) -> None:
        """End a wait in `receive` at once; safe in a signal handler."""
        self._results.put(None)

    def close(self) -> None:
        """End all senders, whatever they are at."""
        for sender in self._senders:
            sender.cut()
        for sender in self._senders:
            try:
                sender.process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                sender.process.kill()
                sender.process.wait()
        self._senders = []

    def _await_start(self) -> None:
        """A sender's first message says that it is ready."""
        try:
            found = self._results.get(timeout=_SECONDS_TO_START)
        except Empty:
            raise PipelineError("a process to send from does not start; set limits.processes: 1") from None
        if found is not None:
            _attempts(*found)


def _attempts(sender: _Sender, message: list[Attempt] | Fault | None) -> list[Attempt]:
    if message is None:
        raise _ended(sender)
    if isinstance(message, Fault):
        raise {"input": InvalidInput, "system": PipelineError}.get(message.kind, RuntimeError)(message.text)
    sender.in_flight -= len(message)
    return message


def _start(sending: Sending, pause: int) -> _Sender:
    ours, theirs = Pipe()
    code = _BOOTSTRAP.format(path=sys.path, connection=theirs.fileno(), pause=pause)
    # Signals are for the process that decides. A sender is born with them held back, so that none can end it early.
    held_before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            pass_fds=(theirs.fileno(), pause),
            env=_environment(sending, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ours.send_bytes(pickle.dumps(sending))
    except OSError as error:
        ours.close()
        raise PipelineError(
            f"no process can be started to send from: {error.strerror}; set limits.processes: 1"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_before)
        theirs.close()
    return _Sender(process, ours)


def _environment(sending: Sending, environ: Mapping[str, str]) -> dict[str, str]:
    """What a sender inherits: everything but the variables that hold the key, which it gets over its connection."""
    kept = dict(_LITTLE_MEMORY)
    for name, value in environ.items():
        if not _holds(value, sending.key):
            kept[name] = value
    return kept


def _holds(value: str, key: str | None) -> bool:
    """Whether a text is the key, or holds one that is too long to stand there by chance."""
    return key is not None and (value.strip() == key or (len(key) >= _LONG_KEY and key in value))


def _ended(sender: _Sender) -> PipelineError:
    code = sender.process.wait()
    cause = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return PipelineError(
        f"a process that sends came to an end ({cause}); every acknowledged answer is safe: run the job again, and if"
        " memory was short, with a lower limits.concurrency or limits.processes: 1"
    )
