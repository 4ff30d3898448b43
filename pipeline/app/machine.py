"""What a run needs of the machine for its requests in flight: open files and threads."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Job
from pipeline.engines import most_in_flight, processes_for
from pipeline.errors import InvalidInput

_OTHER_FILES = 32
_OTHER_THREADS = 8
_PROCESSES, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Lack:
    """What the machine has too little of, and what to do about it."""

    message: str
    remedy: str


@contextmanager
def room_for_connections(job: Job, rows: int) -> Iterator[None]:
    """Raise the limit on open files to what sending so many rows needs, and put it back afterwards.

    Raises InvalidInput where the system allows no such limit.
    """
    lack = too_few_files(job, rows)
    if lack is not None:
        raise InvalidInput(f"limits.concurrency: {lack.message}: {lack.remedy}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _files_for(job, _connections(job, rows))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def too_few_files(job: Job, rows: int) -> Lack | None:
    """Return why no process of a run may hold the connections open that so many rows need; None where it may."""
    connections = _connections(job, rows)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _files_for(job, connections)
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        return None
    most = (hard - _OTHER_FILES) // _files_a_connection(job)
    lower = f", or set limits.concurrency to {most} at most" if most > 0 else ""
    return Lack(
        f"{connections} requests at a time need about {wanted} open files, and the system allows a process {hard}",
        f"raise that limit (`ulimit -Hn`){lower}",
    )


def too_few_threads(job: Job, rows: int) -> Lack | None:
    """Return why sending so many rows by the standard transport, which needs a thread for each request in flight, may
    get fewer; None where nothing is known of that. A run goes on with those that it gets.
    """
    if job.config.endpoint.transport != "standard":
        return None
    wanted, free = _in_flight(job, rows), free_threads()
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


def _connections(job: Job, rows: int) -> int:
    """Return how many connections one process of a run with so many rows holds at most."""
    senders = max(1, processes_for(job.config.limits, rows) - 1)
    return -(-_in_flight(job, rows) // senders)


def _in_flight(job: Job, rows: int) -> int:
    return min(job.config.limits.concurrency, most_in_flight(job.config.endpoint), rows)


def _files_for(job: Job, connections: int) -> int:
    return _files_a_connection(job) * connections + _OTHER_FILES


def _files_a_connection(job: Job) -> int:
    """The embedded endpoint holds the other end of each connection."""
    return 2 if job.config.endpoint.is_simulator else 1
