"""Puts a sender on each node of a cluster, and another one where one has died."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from pipeline.records import JsonObject

_SECONDS_TO_PROVE = 5.0
_MOST_FAILURES = 3
_LONGEST_BACKOFF = 30.0
_FEWEST_SENDERS = 2
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_OF_A_TRACEBACK = re.compile(r"[\w.]*(Error|Exception)\b")

Say = Callable[[JsonObject], None]


class Address(Struct, frozen=True):
    """Where senders connect, and the token that they and the run prove themselves with."""

    host: str
    port: int
    token: bytes


class Node(Struct, frozen=True):
    """A machine of a cluster. One that offers no CPU is kept free of work."""

    id: str
    address: str
    offers_cpu: bool


class Cluster(Protocol):
    """What a placer needs of a cluster; see `pipeline.engines.ray.cluster.RayCluster`."""

    @property
    def here(self) -> str:
        """The address of this machine."""

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""

    def start(self, node: str, door: Address, number: int) -> Any:
        """Start a sender on a node, and return what stands for it."""

    def ended(self, senders: Sequence[Any]) -> Iterable[tuple[Any, str | None]]:
        """Return the senders that have ended, and why, where they did not end well."""

    def kill(self, sender: Any) -> None:
        """Kill a sender. This does not wait."""


class _Placed(Struct, frozen=True):
    number: int
    node: Node
    since: float


class Placer:
    """Keeps a sender on each node and at least two in all, or the number that was asked for.

    `only_here` is whether they have to be on this machine, `say` passes a message to the run. `clock` counts in
    seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        door: Address,
        say: Say,
        *,
        senders: int | None = None,
        only_here: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._door = door
        self._say = say
        self._senders = senders
        self._only_here = only_here
        self._clock = clock
        self._running: dict[Any, _Placed] = {}
        self._numbers = 0
        self._nodes: dict[str, Node] = {}
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self.answered_at = clock()
        """When the cluster last answered."""

    def look(self, replace: Iterable[int] = ()) -> None:
        """See which senders and nodes there are, and place what is missing. `replace` are the numbers of senders that
        are no longer heard.
        """
        self._nodes = {node.id: node for node in self._working_nodes()}
        self.answered_at = self._clock()
        self._drop(set(replace))
        for sender, cause in list(self._cluster.ended(list(self._running))):
            self._count(self._running.pop(sender), cause)
        on_nodes = Counter(placed.node.id for placed in self._running.values())
        while usable := [node for node in self._nodes if self._is_usable(node)]:
            node = min(usable, key=lambda one: on_nodes[one])
            is_enough = len(self._running) >= (self._senders or _FEWEST_SENDERS)
            if (is_enough and (self._senders or on_nodes[node])) or self._waits(node):
                return
            on_nodes[node] += 1
            self._place(self._nodes[node])

    def _is_usable(self, node: str) -> bool:
        """Return whether a node gets the next sender, now or soon; else another one stands in."""
        return self._failures[node] < _MOST_FAILURES or not self._waits(node)

    def _waits(self, node: str) -> bool:
        return self._clock() < self._not_before.get(node, 0.0)

    def _working_nodes(self) -> list[Node]:
        nodes = self._cluster.nodes()
        if self._only_here:
            nodes = [node for node in nodes if node.address == self._cluster.here]
        return [node for node in nodes if node.offers_cpu] or nodes

    def _place(self, node: Node) -> None:
        self._numbers += 1
        self._say({"placed": self._numbers, "place": node.address})
        sender = self._cluster.start(node.id, self._door, self._numbers)
        self._running[sender] = _Placed(self._numbers, node, self._clock())

    def _drop(self, numbers: set[int]) -> None:
        for sender, placed in list(self._running.items()):
            if placed.number in numbers:
                del self._running[sender]
                self._count(placed, "it was no longer heard")
                self._cluster.kill(sender)

    def _count(self, placed: _Placed, cause: str | None) -> None:
        """Wait longer before a node gets another sender, the more often one has ended there at once."""
        now, node = self._clock(), placed.node.id
        if now - placed.since >= _SECONDS_TO_PROVE:
            self._failures[node] = 0
        self._failures[node] += 1
        self._not_before[node] = now + min(_LONGEST_BACKOFF, 0.5 * 2 ** (self._failures[node] - 1))
        if cause is None:
            return
        self._say({"trouble": f"on {placed.node.address}: {cause}"})
        if not self._running and all(self._failures[one] >= _MOST_FAILURES for one in self._nodes):
            needs = "its nodes have to be up, with the same version of llm-batch-pipeline"
            self._say({"over": f"Ray can start no sender: {needs}; on {placed.node.address}: {cause}"})


def in_one_line(error: BaseException) -> str:
    """Return what an error says in one line: its first, or the last of the traceback that Ray puts into its text."""
    lines = [line.strip() for line in _COLORS.sub("", str(error)).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if _OF_A_TRACEBACK.match(lines[-1]) else lines[0]
