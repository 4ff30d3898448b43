"""Runs a command and measures it with every process that it starts."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SET_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <sys/prctl.h>
_TICKS = os.sysconf("SC_CLK_TCK")
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took.

    `started` is in monotonic seconds; `wall` in seconds until its first process ended; `cpu` in seconds, user and
    system, over all its processes; `peak_bytes` the most that they held together at one of the looks (proportional set
    size, so that shared pages count once), 0 where nobody looked.
    """

    started: float
    wall: float
    cpu: float
    peak_bytes: int
    exit_code: int
    output: str


def parents() -> dict[int, int]:
    """Return the parent of every process of this machine, by process id."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError):
                found[int(name)] = int(_stat_fields(int(name))[1])
    return found


def descendants(parent_of: Mapping[int, int], root: int) -> set[int]:
    """Every process below `root`, without it."""
    children: dict[int, list[int]] = {}
    for child, parent in parent_of.items():
        children.setdefault(parent, []).append(child)
    found: set[int] = set()
    pending = [root]
    while pending:
        fresh = [child for child in children.get(pending.pop(), []) if child not in found]
        found.update(fresh)
        pending += fresh
    return found


def held_bytes(pids: set[int]) -> int:
    """Return the proportional set size of the processes together; those that have ended count nothing."""
    total = 0
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total * 1024


def used_cpu(pids: set[int]) -> float:
    """Return the CPU seconds, user and system, of the processes and of the children that they have waited for."""
    total = 0
    for pid in pids:
        with suppress(OSError, ValueError):
            total += sum(map(int, _stat_fields(pid)[11:15]))
    return total / _TICKS


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; the second, in parentheses, may hold spaces (proc(5))."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


class Tree:
    """A command that runs, with every process that it has started, also those that outlive their parents."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        _adopt_orphans(True)
        self._others = descendants(parents(), os.getpid())
        self._used_before = _cpu_of_children()
        self._output = log.with_suffix(".out")
        with self._output.open("wb") as output, log.open("ab") as errors:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdout=output,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
            )
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """The command's first process."""
        return self._process.pid

    def pids(self) -> set[int]:
        """Return the processes that run now."""
        return descendants(parents(), os.getpid()) - self._others

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for the command to end, and say whether it has."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(max(0, round(1000 * seconds))))

    def signal(self, number: int) -> None:
        """Send the command's first process a signal."""
        self._process.send_signal(number)

    def finish(self, peak_bytes: int = 0) -> Measured:
        """Wait for the end, take in what was left behind, and say what all took."""
        self.ends_within(1e6)
        wall = time.monotonic() - self.started
        exit_code = self._process.wait()
        os.close(self._pidfd)
        self._reap()
        _adopt_orphans(False)
        cpu = _cpu_of_children() - self._used_before
        output = self._output.read_text(encoding="utf-8", errors="replace")
        return Measured(self.started, wall, cpu, peak_bytes, exit_code, output)

    def kill(self) -> None:
        """End every process of the command at once."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Give what a command leaves running a little time, then kill it."""
        deadline = time.monotonic() + _GRACE_SECONDS
        while left := self.pids():
            if time.monotonic() > deadline:
                self.kill()
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.01)


def measure(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    look_seconds: float = 0.25,
    most_seconds: float = 36_000,
    watch: Callable[[Tree], None] | None = None,
) -> Measured:
    """Run a command to its end and measure it.

    Args:
        log: where its stderr is appended; stdout goes beside it.
        look_seconds: between two looks at the memory that it holds.
        most_seconds: then it is killed.
        watch: called at each look.
    """
    tree = Tree(command, log, environment)
    peak = 0
    try:
        while not tree.ends_within(look_seconds):
            peak = max(peak, held_bytes(tree.pids()))
            if watch is not None:
                watch(tree)
            if time.monotonic() - tree.started > most_seconds:
                tree.kill()
        return tree.finish(peak)
    except BaseException:
        tree.kill()
        tree.finish()
        raise


def _adopt_orphans(adopts: bool) -> None:
    """Whether what its parent leaves behind becomes a child of this process, which then knows what it used."""
    ctypes.CDLL(None).prctl(_SET_SUBREAPER, int(adopts), 0, 0, 0)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
