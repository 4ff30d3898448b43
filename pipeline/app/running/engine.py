"""The engine of a run: a thread or processes of this machine, or senders that Ray places."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.addresses import is_loopback
from pipeline.app.jobs.endpoint import sender_config
from pipeline.app.jobs.machine import room_for_connections
from pipeline.app.running.options import RunOptions
from pipeline.config import Job, JobConfig
from pipeline.engines import Demand
from pipeline.engines.local import LocalEngine
from pipeline.engines.processes import ProcessEngine
from pipeline.engines.sender_config import SenderConfig
from pipeline.engines.sender_process import without_secrets
from pipeline.errors import Interrupted, InvalidInput, PipelineError
from pipeline.limits import Pause
from pipeline.runner import Engine

if TYPE_CHECKING:
    from pipeline.engines.remote.engine import Placement


def check_engine(options: RunOptions) -> None:
    """Raise InvalidInput if the engine that is asked for cannot be used, before anything else is done."""
    if options.engine == "local":
        if options.address is not None:
            raise InvalidInput("--address names a Ray cluster; add --engine ray, or leave it out")
        return
    if options.address is not None and options.address.startswith("ray://"):
        raise InvalidInput(
            "--address ray://…: senders connect to the machine of the run, which has to be a node of the cluster;"
            " run it there (`ray job submit`), with the address HOST:PORT or none"
        )
    from pipeline.engines.ray.placement import require_ray

    require_ray()


@contextmanager
def placing(job: Job, options: RunOptions) -> Iterator[Placement | None]:
    """Have Ray place the senders of a run that sends by it, while the block goes on; else give None.

    Raises PipelineError where the process that talks to Ray cannot be started.
    """
    sends = not options.accept and options.limit != 0 and job.config.endpoint.batch is None
    if options.engine == "local" or not sends:
        yield None
        return
    from pipeline.engines.ray.placement import RayPlacement, Wish

    processes = job.config.limits.processes
    senders = None if processes == "auto" else max(1, processes - 1)
    wish = Wish(options.address, senders, _is_here(job.config))
    secrets = sender_config(job, "simulator" if job.config.endpoint.is_simulator else None, os.environ).secrets
    placement = RayPlacement(wish, without_secrets(secrets, os.environ))
    try:
        yield placement
    finally:
        placement.end()
        placement.wait()


def _is_here(config: JobConfig) -> bool:
    """Return whether the endpoint is one that only this machine reaches."""
    endpoint = config.endpoint
    return endpoint.is_simulator or any(is_loopback(urlsplit(url).hostname or "") for url in endpoint.urls)


class Engines:
    """Makes the engine of a run: by `placement`, if there is one."""

    def __init__(self, demand: Demand, placement: Placement | None, warn: Callable[[str], None]) -> None:
        self._demand = demand
        self._placement = placement
        self._warn = warn
        self.processes = 1 if placement is not None else demand.processes
        """How many processes of this machine the run has."""

    @contextmanager
    def room(self, sender: SenderConfig) -> Iterator[SenderConfig]:
        """Have room for the connections of this machine. Gives the settings with no more slots than there is room for.

        Raises InvalidInput where there is no room.
        """
        if self._placement is not None and not self._demand.is_simulated:
            yield sender  # each sender sees to its own
            return
        with room_for_connections(self._demand) as most_slots:
            yield replace(sender, slots=min(sender.slots, most_slots))

    def start(self, sender: SenderConfig, pause: Pause, seconds: float, check: Callable[[], None]) -> Engine:
        """Start an engine. That takes up to `seconds`, and meanwhile `check` is called.

        Raises:
            InvalidInput: the configuration cannot be used, or no sender can be placed.
            PipelineError: what was asked for cannot be started.
        """
        asked = self._demand.concurrency
        if sender.standard and asked != "auto" and sender.slots < asked:
            self._warn(
                f"limits.concurrency: endpoint.transport: standard has no more than {sender.slots} requests in flight;"
                " lean has up to 20,000"
            )
        if self._placement is not None:
            from pipeline.engines.remote.engine import RemoteEngine

            return RemoteEngine(sender, self._placement, pause, self._warn, seconds, check)
        if self.processes > 1:
            try:
                return ProcessEngine(sender, self.processes - 1, pause, self._warn, seconds, check)
            except (InvalidInput, Interrupted):
                raise
            except PipelineError as error:
                if self._demand.has_given_processes:
                    raise
                self._warn(f"{error}. This run sends from one process.")
        return LocalEngine(sender.client(pause), self._warn)
