"""What a run needs of the machine for its requests in flight: open files and threads."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from pipeline.config.models.values import MOST_PROCESSES
from pipeline.engines import Demand
from pipeline.errors import InvalidInput

_OTHER_FILES = 32
_OTHER_THREADS = 8
_LEAST_ADDRESSES = 640 * 2**20
"""Bytes of address space: with less, libraries fail in ways that no one can catch, while imported or publishing."""
_PROCESSES, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class Lack(Struct, frozen=True):
    """What the machine has too little of, and what to do about it."""

    message: str
    remedy: str


@contextmanager
def room_for_connections(demand: Demand) -> Iterator[int]:
    """Raise the limit on open files to what a run needs, and put it back afterwards. Gives how many
    requests this process may then have in flight, the embedded endpoint's ends of them included.

    Raises InvalidInput where the system allows no such limit.
    """
    if (lack := too_few_addresses()) is not None:
        raise InvalidInput(f"{lack.message}: {lack.remedy}")
    lack = too_few_files(demand)
    if lack is not None:
        raise InvalidInput(f"limits.concurrency: {lack.message}: {lack.remedy}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needs = _needs(demand)
    wanted = max(need.all_files for need in needs)
    if hard != resource.RLIM_INFINITY:  # what is found while sending makes do with what there is
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY:
        yield demand.most_in_flight
        return
    limit = max(soft, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield max(1, (limit - _OTHER_FILES) // max(need.files for need in needs))
    finally:
        with suppress(ValueError):  # the hard limit was lowered meanwhile
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def too_few_addresses() -> Lack | None:
    """Return why a run may not get the memory that it needs in any case; None where it may."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or soft >= _LEAST_ADDRESSES:
        return None
    return Lack(
        f"a process may use {soft // 2**20:,} MiB of address space, and a run needs {_LEAST_ADDRESSES // 2**20:,} MiB",
        "raise that limit (`ulimit -v`)",
    )


def too_few_files(demand: Demand) -> Lack | None:
    """Return why a process of a run may not hold open the connections that it needs; None where it may, or where the
    job leaves their number to the run.
    """
    if demand.concurrency == "auto":
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = max(_needs(demand), key=lambda one: one.all_files)
    if hard == resource.RLIM_INFINITY or need.all_files <= hard:
        return None
    most = (hard - _OTHER_FILES) // need.files * (demand.in_flight // max(1, need.connections))
    lower = f", or set limits.concurrency to {most} at most" if most > 0 else ""
    senders = -(-demand.in_flight // max(1, hard - _OTHER_FILES))  # so that each has a file for each of its requests
    if not demand.is_simulated and 1 < senders < MOST_PROCESSES:
        lower += f", or limits.processes to {1 + senders}"
    return Lack(
        f"{need.connections} requests at a time need about {need.all_files} open files, and the system allows a process"
        f" {hard}",
        f"raise that limit (`ulimit -Hn`){lower}",
    )


class _Need(Struct, frozen=True):
    """What one process of a run needs: `files` for each of its connections."""

    connections: int
    files: int

    @property
    def all_files(self) -> int:
        """Open files that it needs together."""
        return self.connections * self.files + _OTHER_FILES


def _needs(demand: Demand) -> list[_Need]:
    """Return what each kind of process of a run needs. The embedded endpoint, which is in the process that decides,
    holds the other end of each connection.
    """
    if demand.processes == 1:
        return [_Need(demand.in_flight, 2 if demand.is_simulated else 1)]
    share = -(-demand.in_flight // (demand.processes - 1))
    return [_Need(share, 1), *([_Need(demand.in_flight, 1)] if demand.is_simulated else [])]


def too_few_threads(demand: Demand) -> Lack | None:
    """Return why sending by the standard transport, which needs a thread for each request in flight, may
    get fewer; None where nothing is known of that. A run goes on with those that it gets.
    """
    if not demand.is_standard:
        return None
    wanted, free = demand.in_flight, free_threads()
    if free is None or wanted + _OTHER_THREADS <= free:
        return None
    most = max(1, free - _OTHER_THREADS)
    return Lack(
        f"{wanted} requests at a time need a thread each with endpoint.transport: standard, and the system allows about"
        f" {max(0, free)} more",
        f"raise the limit on processes (`ulimit -u`) or the container's pids, set limits.concurrency to {most}, or"
        " endpoint.transport to lean",
    )


def free_threads(processes: Path = _PROCESSES, groups: Path = _GROUPS) -> int | None:
    """Return how many further threads the limits on the user and on the control groups of this process allow; None
    where there is no limit, or none that can be read.

    Sources: https://man7.org/linux/man-pages/man2/getrlimit.2.html (RLIMIT_NPROC, which does not hold for root) and
    https://docs.kernel.org/admin-guide/cgroup-v2.html#pid.
    """
    found = list(_left_in_groups(processes, groups))
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY and os.getuid() != 0:
        found.append(most - _threads_of(os.getuid(), processes))
    return min(found, default=None)


def _left_in_groups(processes: Path, groups: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for line in (processes / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "pids"):
                continue
            group = groups / controllers / path.lstrip("/")
            for above in (group, *group.parents):
                if not above.is_relative_to(groups):
                    break
                with suppress(OSError, ValueError):  # no limit is written as `max`
                    yield int((above / "pids.max").read_text()) - int((above / "pids.current").read_text())


def _threads_of(user: int, processes: Path) -> int:
    """Return how many threads a user has, as far as this process may see."""
    count = 0
    for status in processes.glob("[0-9]*/status"):
        with suppress(OSError, StopIteration, ValueError):
            facts = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if int(facts["Uid"].split()[0]) == user:
                count += int(facts["Threads"])
    return count
