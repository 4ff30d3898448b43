"""`pipeline doctor`: check everything that a run depends on, before one is started."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from urllib.parse import urlsplit

from msgspec import Struct

from pipeline.app.jobs.disk import checkpoint_warnings, nearest_existing, readable_size, written_in
from pipeline.app.jobs.machine import Lack, too_few_addresses, too_few_files, too_few_threads
from pipeline.app.jobs.scratch import scratch_in
from pipeline.catalogue import built_in
from pipeline.config import (
    EndpointConfig,
    InputConfig,
    Job,
    JobConfig,
    OutputConfig,
    PromptConfig,
    api_key,
    environment_mistakes,
)
from pipeline.config.wire import make_endpoint
from pipeline.endings import Exit
from pipeline.engines import Demand, most_asked
from pipeline.errors import CheckpointFailed, InvalidInput, StoreFailed, StoreRefused
from pipeline.journal import Journal
from pipeline.storage import StorePath, location, storage_of
from pipeline.transport.route import find_proxy, tls_context
from pipeline.version import __version__

_PACKAGE = "llm-batch-pipeline"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)>=([0-9.]+)")
_LEAST_PYTHON = (3, 11)
_LEAST_BYTES = 100 * 10**6


class Check(Struct, frozen=True):
    """One thing that was looked at. `remedy` says how to fix what is not ok, and `exit_code` what the command
    ends with then.
    """

    name: str
    message: str
    remedy: str | None = None
    exit_code: int = Exit.INVALID

    @property
    def is_ok(self) -> bool:
        """Whether nothing has to be fixed."""
        return self.remedy is None


def default_job() -> Job:
    """Return the job that is checked if none is named: the default endpoint, checkpoint and output."""
    config = JobConfig(
        name="doctor",
        input=InputConfig(path="input.csv"),
        prompt=PromptConfig(user="-"),
        endpoint=EndpointConfig(model=built_in().names[0]),
        output=OutputConfig(path="output.parquet"),
    )
    return Job(config, "", {})


def run_checks(job: Job, environ: Mapping[str, str]) -> Iterator[Check]:
    """Look at everything that needs no request; leaves nothing behind."""
    yield _python()
    yield _packages()
    yield from _disks(job)
    yield from _stores(job)
    yield _sqlite(job)
    yield _memory()
    demand = Demand.of(job.config, most_asked(job.config.limits))
    yield _room("files", too_few_files(demand))
    yield _room("threads", too_few_threads(demand))
    yield _clock()
    yield _proxy(job)
    yield _key(job, environ)


def _python() -> Check:
    version = platform.python_version()
    is_ok = sys.version_info >= _LEAST_PYTHON
    return Check("python", version, None if is_ok else "use Python 3.11 or later")


def _packages() -> Check:
    """Check the packages that this one requires, by its own metadata."""
    found, wrong = [f"{_PACKAGE} {__version__}"], []
    for name, least in _requirements():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            wrong.append(f"{name} {version} is older than {least}")
    if wrong:
        return Check("packages", ", ".join(wrong), f"reinstall {_PACKAGE}, in an environment of its own")
    return Check("packages", ", ".join(found))


def _requirements() -> Iterator[tuple[str, str]]:
    try:
        lines = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:  # run from its source, not installed
        lines = []
    for line in lines:
        if "extra ==" not in line and (found := _REQUIREMENT.match(line)):
            yield found[1], found[2]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _disks(job: Job) -> Iterator[Check]:
    """Check whether what a run writes can be written, and reaches the disk."""
    places = {"checkpoint.path": job.checkpoint_path, "output.path": written_in(job)}
    for key, path in places.items():
        existing = nearest_existing(path)
        try:
            with tempfile.TemporaryFile(dir=existing) as file:
                file.write(b"\0")
                file.flush()
                os.fsync(file.fileno())
            free = shutil.disk_usage(existing).free
        except OSError as error:
            message = f"{key}: cannot write to {existing}: {error.strerror}"
            yield Check("disk", message, "choose another place, or fix it", Exit.CHECKPOINT)
            continue
        remedy = "free some space there" if free < _LEAST_BYTES else None
        yield Check("disk", f"{key}: {readable_size(free)} free at {existing}", remedy, Exit.CHECKPOINT)
    for warning in checkpoint_warnings(job.checkpoint_path):
        yield Check("disk", warning, "put the checkpoint on a local disk", Exit.CHECKPOINT)


def _stores(job: Job) -> Iterator[Check]:
    """Check whether the object stores that the job names answer."""
    work = job.checkpoint_path
    named = [("input.path", location(path, job.config.input.storage.options, work)) for path in job.config.input.paths]
    for key, path in [*named, ("output.path", job.output.head)]:
        if isinstance(path, StorePath):
            try:
                storage_of(path).version(path)
            except StoreRefused as error:
                yield Check("store", f"{key}: {error}", "see to the credentials and the bucket")
            except StoreFailed as error:
                yield Check("store", f"{key}: {error}", "see to the network and the address", Exit.CHECKPOINT)
            else:
                yield Check("store", f"{key}: {path.scheme}://{path.bucket} answers")


def _sqlite(job: Job) -> Check:
    """Create, write and read a journal in the place where the checkpoint will be."""
    try:
        with scratch_in(nearest_existing(job.checkpoint_path)) as directory:
            Journal.create(directory, job="doctor", simulated=True)
            writer = Journal.write(directory)
            writer.register_run("doctor")
            writer.close()
            reader = Journal.read(directory)
            reader.verify()
            reader.close()
    except (OSError, CheckpointFailed) as error:
        return Check(
            "sqlite",
            f"{sqlite3.sqlite_version}: {error}",
            "fix the disk, or choose another checkpoint.path",
            Exit.CHECKPOINT,
        )
    return Check("sqlite", sqlite3.sqlite_version)


def _memory() -> Check:
    lack = too_few_addresses()
    return Check("memory", "enough") if lack is None else Check("memory", lack.message, lack.remedy)


def _room(name: str, lack: Lack | None) -> Check:
    return Check(name, "enough") if lack is None else Check(name, f"limits.concurrency: {lack.message}", lack.remedy)


def _clock() -> Check:
    """Check that the clock is not earlier than the prices that the program ships with."""
    now = datetime.now(UTC)
    brought = max(date.fromisoformat(model.priced_on) for model in built_in().models if model.priced_on)
    remedy = None if now.date() >= brought else "set the clock; stamps and Retry-After dates would be wrong"
    return Check("clock", now.isoformat(timespec="seconds"), remedy)


def _proxy(job: Job) -> Check:
    url = make_endpoint(job.config.endpoint, "http://127.0.0.1" if job.config.endpoint.is_simulator else None).url
    target = urlsplit(url)
    try:
        proxy = find_proxy(url, standard=job.config.endpoint.transport == "standard")
        if target.scheme == "https":
            tls_context()
    except InvalidInput as error:
        return Check("proxy", str(error), "fix or unset the variable")
    way = "none" if proxy is None else proxy.netloc.rpartition("@")[2]
    return Check("proxy", f"{way}, to {target.hostname}")


def _key(job: Job, environ: Mapping[str, str]) -> Check:
    endpoint = job.config.endpoint
    for mistake in environment_mistakes(job, environ):
        return Check("key", mistake.message, mistake.suggestion)
    if api_key(endpoint, environ) is None:
        return Check("key", "no key is needed")
    return Check("key", f"{endpoint.api_key_env} is set")
