"""The process that talks to Ray: it puts an actor on each node, and another one where one has died.

It is told what to do in lines of JSON on stdin, and answers in such lines on stdout. It ends when stdin does, and with
it the actors, which no one else owns.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from pipeline.records import JsonObject

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_SILENT = 20.0
"""How long the control store may say nothing. After 60 s Ray ends the processes of the cluster by itself."""
_SECONDS_TO_PROVE = 5.0
_MOST_FAILURES = 3
_LONGEST_BACKOFF = 30.0
_FEWEST_SENDERS = 2
_TOKEN_FILE = "~/.ray/auth_token"

Say = Callable[[JsonObject], None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where senders connect, and the token that they and the run prove themselves with."""

    host: str
    port: int
    token: bytes


@dataclass(frozen=True, slots=True)
class Node:
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


@dataclass(frozen=True, slots=True)
class _Placed:
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
        wanted = self._senders or max(_FEWEST_SENDERS, len(self._nodes))
        free = [node for node in self._nodes if self._not_before.get(node, 0.0) <= self._clock()]
        while free and len(self._running) < wanted:
            node = min(free, key=lambda one: on_nodes[one])
            on_nodes[node] += 1
            self._place(self._nodes[node])

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
            self._say({"over": f"no sender can begin in this Ray cluster; on {placed.node.address}: {cause}"})


def main() -> None:
    """Talk to Ray for a run until it closes stdin."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)  # what Ray prints is in its log
    say = partial(_say, out, threading.Lock())
    wish = json.loads(sys.stdin.readline())
    _prepare(wish["address"])
    try:
        from pipeline.engines.ray.cluster import RayCluster

        cluster = RayCluster(wish["address"])
    except BaseException as error:
        where = "no cluster can be joined or started"
        if wish["address"] is not None:
            where = f"no cluster can be joined at {wish['address']}"
        say({"over": f"--engine ray: {where}: {first_line(error)}"})
        os._exit(1)
    say({"node": cluster.here})
    if line := sys.stdin.readline():
        told = json.loads(line)
        door = Address(told["host"], told["port"], bytes.fromhex(told["token"]))
        keep(Placer(cluster, door, say, senders=wish["senders"], only_here=wish["only_here"]), say)
    cluster.close()


def _prepare(address: str | None) -> None:
    """Set what Ray reads from the environment when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A cluster that is named by its address may ask for the token, which Ray finds out by itself only for its own.
    if address not in (None, "auto", "local") and os.path.exists(os.path.expanduser(_TOKEN_FILE)):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def keep(placer: Placer, say: Say) -> None:
    """Keep the senders placed until stdin closes. Say so if the cluster does not answer."""
    replaced: SimpleQueue[int] = SimpleQueue()
    for task in (partial(_look_again_and_again, placer, replaced, say), partial(_watch, placer, say)):
        threading.Thread(target=task, daemon=True).start()
    for line in sys.stdin:
        replaced.put(json.loads(line)["replace"])


def _look_again_and_again(placer: Placer, replaced: SimpleQueue[int], say: Say) -> None:
    try:
        while True:
            placer.look(_all_of(replaced))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except Exception as error:
        say({"over": f"Ray has ended: {first_line(error)}"})


def _watch(placer: Placer, say: Say) -> None:
    """Say so when the cluster does not answer: what waits for it in the other thread is told nothing."""
    while time.monotonic() - placer.answered_at < _SECONDS_SILENT:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    say({"over": f"Ray's control store has not answered for {_SECONDS_SILENT:.0f} s: the cluster is gone or cut off"})


def _all_of(numbers: SimpleQueue[int]) -> list[int]:
    found = []
    with suppress(Empty):
        while True:
            found.append(numbers.get_nowait())
    return found


def _say(out: Any, lock: threading.Lock, message: JsonObject) -> None:
    with lock, suppress(OSError):
        out.write(f"{json.dumps(message)}\n")


def first_line(error: BaseException) -> str:
    """Return what an error says in its first line; Ray's go on with a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
