"""The endpoint that a job names, as a run reaches it: where it is, the embedded one included, and with what headers."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline.config import Job, api_key
from pipeline.endpoints import make_endpoint
from pipeline.engines.sending import Sending
from pipeline.errors import InvalidInput
from pipeline.version import __version__

_OTHER_FILES = 32


def sending_to(job: Job, address: str | None, environ: Mapping[str, str]) -> Sending:
    """What a sender has to know of the job's endpoint. `address` is the embedded one's, whose key is no secret."""
    config = job.config
    key = "simulator" if address else api_key(config.endpoint, environ)
    return Sending(
        make_endpoint(config.endpoint, address), _request_headers(key), None if address else key,
        config.limits.concurrency, config.limits.timeout_seconds, config.endpoint.transport == "standard",
    )  # fmt: skip


def _request_headers(key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json",
               "User-Agent": f"llm-batch-pipeline/{__version__}"}  # fmt: skip
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return headers


@contextmanager
def endpoint_address(job: Job) -> Iterator[str | None]:
    """The embedded endpoint's address, while it runs; None where the job names another endpoint."""
    if not job.config.endpoint.is_simulator:
        yield None
        return
    from pipeline.simulator import Settings, Simulator

    found = job.config.simulator
    simulator = Simulator(Settings() if found is None else Settings(**found.model_dump(exclude_none=True)))
    try:
        address = simulator.start()
    except OSError as error:
        raise InvalidInput(f"simulator: the embedded endpoint cannot start: {error}") from error
    try:
        yield address
    finally:
        simulator.stop()


@contextmanager
def room_for_connections(job: Job, connections: int) -> Iterator[None]:
    """Raise the limit on open files to what so many connections of this process need, and put it back afterwards.

    Raises InvalidInput where the system allows no such limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fault = too_few_files(job, connections)
    if fault is not None:
        raise InvalidInput(fault)
    wanted = _files_for(job, connections)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def too_few_files(job: Job, connections: int) -> str | None:
    """Why a process cannot hold so many connections open, and what to do about it; None where it can."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _files_for(job, connections)
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        return None
    most = (hard - _OTHER_FILES) // _files_a_connection(job)
    lower = f", or set limits.concurrency to {most} at most" if most > 0 else ""
    return (
        f"limits.concurrency: {connections} requests at a time need about {wanted} open files, and the system allows a"
        f" process {hard}: raise that limit (`ulimit -Hn`){lower}"
    )


def _files_for(job: Job, connections: int) -> int:
    return _files_a_connection(job) * connections + _OTHER_FILES


def _files_a_connection(job: Job) -> int:
    """The embedded endpoint holds the other end of each connection."""
    return 2 if job.config.endpoint.is_simulator else 1
