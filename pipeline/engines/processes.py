"""Senders in processes of their own, so that sending and recording each have a core.

What crosses the seam is tasks one way and attempts the other, in batches. A sender keeps nothing: it ends with its
connection, so none outlives the run, however that ended. The run waits for no sender: one that is stopped or stuck
holds back nothing but what it was given.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.client import Attempt, Task
from pipeline.engines.channel import Channel
from pipeline.engines.local import fewer_threads
from pipeline.engines.sender import Fault, Room
from pipeline.engines.sending import Sending
from pipeline.errors import ErrorKind, InvalidInput, PipelineError
from pipeline.limits import Pause
from pipeline.records import Failure
from pipeline.wording import counted

# With the modules found where this process found them, and nothing added from the directory that the command runs in.
_BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from pipeline.engines.sender import main; main({connection}, {pause})"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_BEGIN = 60.0
_SECONDS_TO_END = 2.0
_SECONDS_OF_GRACE = 30.0
"""How much later than `timeout_seconds` a sender may be with a result; the watchdog of a run waits longer."""
_LONGEST_TURN = 1.0
_LONG_SECRET = 8
# Has glibc keep less of what the threads of a sender have freed; what the environment says otherwise stands.
_LITTLE_MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}


@dataclass(slots=True)
class _Sender:
    process: subprocess.Popen[bytes]
    channel: Channel
    slots: int | None = None
    """How many requests it can have in flight; None until it is ready."""
    in_flight: dict[int, float] = field(default_factory=dict)
    """When each task was handed over, in Unix seconds, by its number."""
    silent: float = 0.0
    """For how many seconds nothing has come from it, while it was starting or had a task under way."""


class ProcessEngine:
    """So many processes that send side by side, up to `sending.slots` requests together; `pause` holds for all of them.

    Of a sender that comes to an end, or that is stuck far beyond the time that an attempt may take, each task under way
    comes back as a failure that was possibly billed; the others go on, and `warn` is told. It takes no longer than
    `seconds` to begin: if no sender is ready by then, it has no slots. Meanwhile `check` is called, which may raise.

    Raises:
        InvalidInput: nothing can be sent so (as `Sending.client` does).
        PipelineError: here, where a sender cannot start, and from `receive`, where the last one has come to an end.
    """

    def __init__(
        self,
        sending: Sending,
        processes: int,
        pause: Pause,
        warn: Callable[[str], None] = lambda message: None,
        seconds: float = math.inf,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._senders: list[_Sender] = []
        self._slots = sending.slots
        self._most_silent = sending.timeout_seconds + _SECONDS_OF_GRACE
        self._warn = warn
        self._fault: Exception | None = None
        try:
            self._woken, self._waker = os.pipe()
        except OSError as error:
            raise _cannot_start(error) from error
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        shared = -1
        try:
            shared = pause.share()
            for _ in range(processes):
                self._senders.append(_start(sending, shared))
            self._wait_until_ready(seconds, check)
        except OSError as error:
            self.close()
            raise _cannot_start(error) from error
        except BaseException:
            self.close()
            raise
        finally:
            with suppress(OSError):
                os.close(shared)

    @property
    def slots(self) -> int:
        """How many requests can be in flight together."""
        return min(self._slots, sum(sender.slots or 0 for sender in self._senders))

    def send(self, tasks: Sequence[Task]) -> None:
        """Hand tasks to the senders that have the fewest under way; never waits."""
        shares: list[list[Task]] = [[] for _ in self._senders]
        handed = time.time()
        for task in tasks:
            index = min(range(len(shares)), key=self._load)
            shares[index].append(task)
            self._senders[index].in_flight[task.number] = handed
        for sender, share in zip(self._senders, shares, strict=True):
            if share:
                sender.channel.put(share)

    def receive(self, timeout: float) -> list[Attempt]:
        """Every attempt that has ended; waits up to `timeout` seconds for the first."""
        if self._fault is not None:
            raise self._fault
        attempts: list[Attempt] = []
        try:
            begun = time.monotonic()
            self._wait(timeout)
            # Turn by turn, so that a program that was stopped itself takes no sender for stuck.
            waited = min(time.monotonic() - begun, _LONGEST_TURN)
            for sender in list(self._senders):
                self._take(sender, attempts, waited)
        except Exception as fault:
            if not attempts:
                raise
            self._fault = fault  # first hand over what was answered
        return attempts

    def wake(self) -> None:
        """End a wait in `receive` at once; safe in a signal handler."""
        with suppress(BlockingIOError):  # it is full of such words already
            os.write(self._waker, b"!")

    def close(self) -> None:
        """End all senders, whatever they are at."""
        for sender in self._senders:
            sender.channel.close()
        give_up = time.monotonic() + _SECONDS_TO_END
        for sender in self._senders:
            _end(sender.process, give_up - time.monotonic())
        self._senders = []
        for end in (self._woken, self._waker):
            with suppress(OSError):
                os.close(end)

    def _load(self, index: int) -> tuple[bool, int]:
        """What speaks against one more task for a sender."""
        sender = self._senders[index]
        return len(sender.in_flight) >= (sender.slots or 0), len(sender.in_flight)

    def _wait_until_ready(self, seconds: float, check: Callable[[], None]) -> None:
        """Until the first sender is: what it can send with, the others can too, and they join when they are ready."""
        give_up = time.monotonic() + min(seconds, _SECONDS_TO_BEGIN)
        while all(sender.slots is None for sender in self._senders):
            left = give_up - time.monotonic()
            if left <= 0:
                if seconds < _SECONDS_TO_BEGIN:
                    return
                raise PipelineError(
                    f"a process to send from was not ready within {_SECONDS_TO_BEGIN:g} s; set limits.processes: 1"
                )
            check()
            self._wait(min(left, _LONGEST_TURN))
            for sender in list(self._senders):
                self._take(sender, [], 0.0)

    def _wait(self, timeout: float) -> None:
        """Until a sender has something to say, or `wake` was called. What was not sent yet is sent meanwhile."""
        with selectors.PollSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for sender in self._senders:
                writes = selectors.EVENT_WRITE if sender.channel.has_unsent else 0
                selector.register(sender.channel, selectors.EVENT_READ | writes, sender)
            for key, events in selector.select(timeout):
                if key.data is None:
                    with suppress(BlockingIOError):
                        os.read(self._woken, 1024)
                elif events & selectors.EVENT_WRITE:
                    key.data.channel.flush()

    def _take(self, sender: _Sender, attempts: list[Attempt], waited: float) -> None:
        messages = sender.channel.take()
        is_waited_for = sender.slots is None or bool(sender.in_flight)
        sender.silent = 0.0 if messages or not is_waited_for else sender.silent + waited
        for message in messages:
            if isinstance(message, Fault):
                self._fail(sender, message, attempts)
                return
            if isinstance(message, Room):
                self._make_room(sender, message.slots)
                continue
            for attempt in message:
                del sender.in_flight[attempt.number]
            attempts += message
        if sender.channel.is_over:
            self._lose(sender, _ended(sender), attempts)
        elif sender.silent > (_SECONDS_TO_BEGIN if sender.slots is None else self._most_silent):
            self._give_up(sender, attempts)

    def _fail(self, sender: _Sender, fault: Fault, attempts: list[Attempt]) -> None:
        """Go on without a sender that the system gives too little, as long as others are left; else raise its fault."""
        if fault.kind == "system" and self._has_others(sender):
            self._lose(sender, _Ended(fault.text), attempts)
            return
        raise {"input": InvalidInput, "system": PipelineError}.get(fault.kind, RuntimeError)(fault.text)

    def _give_up(self, sender: _Sender, attempts: list[Attempt]) -> None:
        """End a sender that says nothing, unless it is the last one that can send: for that the run has a watchdog."""
        if sender.slots is None or self._has_others(sender):
            _end(sender.process, 0.0)
            self._lose(sender, _Ended(f"it said nothing for {sender.silent:.0f} s and was ended"), attempts)

    def _has_others(self, sender: _Sender) -> bool:
        """Return whether another one can send, or is starting."""
        return any(other.slots != 0 for other in self._senders if other is not sender)

    def _make_room(self, sender: _Sender, slots: int) -> None:
        if sender.slots is not None:
            self._warn(fewer_threads(slots))
        sender.slots = slots

    def _lose(self, sender: _Sender, fault: _Ended, attempts: list[Attempt]) -> None:
        """Go on without a sender. Raises `fault` where no other is left."""
        if not self._has_others(sender):
            raise fault
        self._senders.remove(sender)
        sender.channel.close()
        self._warn(
            f"{fault.cause}; {counted(len(sender.in_flight), 'request')} may have been billed, and will be sent again"
        )
        now = time.time()
        failure = Failure(ErrorKind.CONNECTION_ERROR, fault.cause, possibly_billed=True)
        attempts += [
            Attempt(number, failure, handed, now, max(0.0, now - handed)) for number, handed in sender.in_flight.items()
        ]


class _Ended(PipelineError):
    """A sender came to an end; `cause` says how."""

    def __init__(self, cause: str) -> None:
        self.cause = f"a process that sends came to an end ({cause})"
        super().__init__(
            f"{self.cause}; every acknowledged answer is safe: run the job again, and if memory was short, with a lower"
            " limits.concurrency or limits.processes: 1"
        )


def _start(sending: Sending, pause: int) -> _Sender:
    ours, theirs = socket.socketpair()
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
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_before)
        theirs.close()
    channel = Channel(ours)
    channel.put(sending)
    return _Sender(process, channel)


def _cannot_start(error: OSError) -> PipelineError:
    return PipelineError(f"no process can be started to send from: {error.strerror}; set limits.processes: 1")


def _end(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait so long for a process to end, then kill it. Returns its exit code; None where even that does not end it."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(max(0.0, seconds))
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_SECONDS_TO_END)
    return None


def _ended(sender: _Sender) -> _Ended:
    code = _end(sender.process, _SECONDS_TO_END)
    if code is None:
        return _Ended("it cannot even be killed")
    return _Ended(f"killed by signal {-code}" if code < 0 else f"exit code {code}")


def _environment(sending: Sending, environ: Mapping[str, str]) -> dict[str, str]:
    """What a sender inherits: everything but the variables that hold a secret, which it gets over its connection."""
    kept = dict(_LITTLE_MEMORY)
    for name, value in environ.items():
        if not any(_holds(value, secret) for secret in sending.secrets):
            kept[name] = value
    return kept


def _holds(value: str, secret: str) -> bool:
    """Whether a text is the secret, or holds one that is too long to stand there by chance."""
    return bool(secret) and (value.strip() == secret or (len(secret) >= _LONG_SECRET and secret in value))
