"""A Ray cluster, as far as senders need it. This is the only module that imports Ray."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.util import get_node_ip_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.engines.ray.placer import Address, Node, in_one_line
from pipeline.version import __version__

# What a cluster of our own needs: it holds no objects and no tasks.
_SMALL = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_dashboard": False}
_QUIET = {"logging_level": "ERROR", "log_to_driver": False}
_SECONDS_TO_SHUT_DOWN = 5.0


class SenderActor:
    """An actor that sends for a run."""

    def send_for(self, version: str, host: str, port: int, token: bytes, number: int) -> str | None:
        """Send until the run is over. Returns why it could not begin, if it could not.

        The token comes as an argument of a method: Ray writes those into no file, interface or command line.
        """
        if version != __version__:
            return f"it has version {__version__} of llm-batch-pipeline, and the run has {version}"
        from pipeline.engines.remote.sender import serve

        return serve(host, port, token, number)


class RayCluster:
    """A cluster that this process is connected to as a driver: the actors that it starts end with it.

    Without an address it is the cluster that this machine belongs to; with "local" one is started here. Raises
    ConnectionError if there is none, and whatever else Ray does.
    """

    def __init__(self, address: str | None) -> None:
        ray.init(address or "auto", **_QUIET, **(_SMALL if address == "local" else {}))
        self.here: str = get_node_ip_address()

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""
        return [
            Node(node["NodeID"], node["NodeManagerAddress"], bool(node["Resources"].get("CPU")))
            for node in ray.nodes()
            if node["Alive"]
        ]

    def start(self, node: str, door: Address, number: int) -> Any:
        """Start a sender on a node, and return what stands for it."""
        # It mostly waits, so it asks for no CPU and finds a place beside other work. Ray does nothing again by itself:
        # a request that is sent twice is paid twice.
        actor = (
            ray.remote(SenderActor)
            .options(
                num_cpus=0,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote()
        )
        return actor, actor.send_for.remote(__version__, door.host, door.port, door.token, number)

    def ended(self, senders: Sequence[Any]) -> Iterator[tuple[Any, str | None]]:
        """Yield the senders that have ended, and why, where they did not end well."""
        by_call = {call: (actor, call) for actor, call in senders}
        ended, _ = ray.wait(list(by_call), num_returns=len(by_call), timeout=0) if by_call else ([], [])
        for call in ended:
            try:
                yield by_call[call], ray.get(call)
            except Exception as error:
                yield by_call[call], in_one_line(error)

    def kill(self, sender: Any) -> None:
        """Kill a sender, whatever it is doing. This does not wait."""
        ray.kill(sender[0])

    def close(self) -> None:
        """End everything that was started, and this process."""
        # A control store that is gone would hold this up.
        threading.Timer(_SECONDS_TO_SHUT_DOWN, os._exit, (0,)).start()
        ray.shutdown()
        os._exit(0)
