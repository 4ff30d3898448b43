"""Where senders are placed, without Ray: the cluster is a fake one, and so is the process that talks to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.engines.ray import placement as placement_module
from pipeline.engines.ray import process as process_module
from pipeline.engines.ray.placement import RayPlacement, Wish
from pipeline.engines.ray.placer import Address, Node, Placer, in_one_line
from pipeline.engines.remote.handshake import join

DOOR = Address("10.0.0.1", 4000, b"t" * 32)


class Cluster:
    """Nodes and senders as a test wants them. A sender is its number."""

    here = "10.0.0.1"

    def __init__(self, *nodes: Node) -> None:
        self.alive = list(nodes)
        self.started: dict[int, str] = {}
        self.over: dict[int, str | None] = {}
        self.killed: list[int] = []

    def nodes(self) -> list[Node]:
        return self.alive

    def start(self, node: str, door: Address, number: int) -> int:
        assert door == DOOR
        self.started[number] = node
        return number

    def ended(self, senders: Sequence[int]) -> list[tuple[int, str | None]]:
        return [(one, self.over.pop(one)) for one in senders if one in self.over]

    def kill(self, sender: int) -> None:
        self.killed.append(sender)


class Watched:
    """A placer over a fake cluster, with what it says and a clock."""

    def __init__(self, cluster: Cluster, **options: Any) -> None:
        self.said: list[Mapping[str, Any]] = []
        self.now = 1000.0
        self.placer = Placer(cluster, DOOR, self.said.append, clock=lambda: self.now, **options)

    def look(self, seconds: float = 0.0, replace: Sequence[int] = ()) -> None:
        self.now += seconds
        self.placer.look(replace)

    @property
    def over(self) -> list[str]:
        return [message["over"] for message in self.said if "over" in message]


def node(number: int, *, offers_cpu: bool = True) -> Node:
    return Node(f"n{number}", f"10.0.0.{number}", offers_cpu)


@pytest.mark.parametrize(
    ("nodes", "options", "wanted"),
    [
        ([node(1)], {}, ["n1", "n1"]),
        ([node(1), node(2), node(3)], {}, ["n1", "n2", "n3"]),
        ([node(1), node(2)], {"senders": 5}, ["n1", "n1", "n1", "n2", "n2"]),
        ([node(1), node(2), node(3)], {"senders": 1}, ["n1"]),
        ([node(1), node(2)], {"only_here": True}, ["n1", "n1"]),
        ([node(1, offers_cpu=False), node(2)], {}, ["n2", "n2"]),
        ([node(1, offers_cpu=False)], {}, ["n1", "n1"]),
    ],
)
def test_there_is_a_sender_on_each_node_that_may_work_and_two_at_least(
    nodes: list[Node], options: dict[str, Any], wanted: list[str]
) -> None:
    cluster = Cluster(*nodes)
    watched = Watched(cluster, **options)
    watched.look()
    watched.look(1)
    assert sorted(cluster.started.values()) == wanted
    assert [(message["placed"], message["place"]) for message in watched.said] == [
        (number, f"10.0.0.{placed[1:]}") for number, placed in cluster.started.items()
    ]


def test_a_node_that_is_added_gets_a_sender_and_one_that_is_gone_loses_its() -> None:
    cluster = Cluster(node(1), node(2))
    watched = Watched(cluster)
    watched.look()
    cluster.alive.append(node(3))
    watched.look(1)
    assert list(cluster.started.values()) == ["n1", "n2", "n3"]
    cluster.alive.pop(0)
    cluster.over = {1: "the actor died"}
    watched.look(60)
    assert list(cluster.started.values()) == ["n1", "n2", "n3"]
    assert watched.said[-1] == {"trouble": "on 10.0.0.1: the actor died"}


def test_a_node_that_is_added_gets_a_sender_where_another_stood_in_for_it() -> None:
    cluster = Cluster(node(1))
    watched = Watched(cluster)
    watched.look()
    cluster.alive.append(node(2))
    watched.look(1)
    watched.look(1)
    assert list(cluster.started.values()) == ["n1", "n1", "n2"]


def test_a_sender_that_died_and_one_that_is_no_longer_heard_are_replaced() -> None:
    cluster = Cluster(node(1))
    watched = Watched(cluster)
    watched.look()
    cluster.over = {1: "the actor died"}
    watched.look(100)
    watched.look(1, [2])
    watched.look(1)
    assert (list(cluster.started), cluster.killed) == ([1, 2, 3, 4], [2])


def test_a_node_where_no_sender_can_begin_is_tried_ever_more_rarely_and_in_the_end_the_run_is_told() -> None:
    cluster = Cluster(node(1))
    watched = Watched(cluster, senders=1)
    began = []
    for _ in range(1000):
        before = len(cluster.started)
        watched.look(0.1)
        if len(cluster.started) > before:
            began.append(watched.now)
            cluster.over = {len(cluster.started): "no module named pipeline"}
    waits = [round(after - before) for before, after in pairwise(began)]
    assert waits[:7] == [1, 1, 2, 4, 8, 16, 30]
    assert watched.over[0] == (
        "Ray can start no sender: its nodes have to be up, with the same version of llm-batch-pipeline; on 10.0.0.1: no"
        " module named pipeline"
    )
    assert len(watched.over) == len(began) - 2 - (1 if cluster.over else 0)


def test_a_node_that_fails_keeps_no_other_from_sending() -> None:
    cluster = Cluster(node(1), node(2))
    watched = Watched(cluster)
    for _ in range(50):
        watched.look(1)
        cluster.over = {number: "no disk" for number, placed in cluster.started.items() if placed == "n1"}
    assert not watched.over
    assert list(cluster.started.values()).count("n2") == 2  # it stood in


@pytest.mark.parametrize("fault", ["silent", "raises"])
def test_the_run_is_told_of_a_cluster_that_no_longer_answers(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(process_module, "_SECONDS_SILENT", 0.05)
    cluster = Cluster(node(1))
    told, release = threading.Event(), threading.Event()
    said: list[Mapping[str, Any]] = []

    def nodes() -> list[Node]:
        if fault == "raises":
            raise RuntimeError("The system has ended.\n\nTraceback: …")
        release.wait(10)
        return []

    def say(message: Mapping[str, Any]) -> None:
        said.append(message)
        told.set()

    def lines() -> Iterator[str]:
        told.wait(10)
        yield from ()

    monkeypatch.setattr(cluster, "nodes", nodes)
    monkeypatch.setattr(sys, "stdin", lines())
    process_module.keep(Placer(cluster, DOOR, say), say)
    release.set()
    wanted = (
        "Ray has ended: The system has ended." if fault == "raises" else "Ray's control store has not answered for 0 s"
    )
    assert said[0]["over"].startswith(wanted)


def test_of_an_error_of_ray_the_line_that_says_something_is_shown() -> None:
    assert in_one_line(RuntimeError("\n  The actor died.\n\tclass_name: SenderActor")) == "The actor died."
    creation = "It died in \x1b[36mray::__init__()\x1b[39m\n  ^^^^\nModuleNotFoundError: No module named 'pipeline'\n"
    assert in_one_line(RuntimeError(creation)) == "ModuleNotFoundError: No module named 'pipeline'"
    assert in_one_line(RuntimeError("\x1b[36mred\x1b[39m")) == "red"
    assert in_one_line(RuntimeError()) == "RuntimeError"


# ---- which cluster


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str | None, str | None]]:
    """The addresses that are tried, each with the way in which Ray would prove itself; none is a cluster's."""
    tried: list[tuple[str | None, str | None]] = []

    def join_none(address: str | None) -> None:
        tried.append((address, os.environ.get("RAY_AUTH_MODE")))
        raise ConnectionError("no cluster there")

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_worker_niceness"):
        monkeypatch.setenv(name, "")  # so that what is set here is unset in the end
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    stub = SimpleNamespace(RayCluster=join_none)
    monkeypatch.setitem(sys.modules, "pipeline.engines.ray.cluster", cast(ModuleType, stub))
    return tried


def test_where_this_machine_belongs_to_no_cluster_another_process_starts_one(
    joined: list[tuple[str | None, str | None]],
) -> None:
    with pytest.raises(process_module.Elsewhere) as better:
        process_module._connected(None)
    assert (better.value.address, better.value.environ) == ("local", {})
    assert joined == [(None, None)]


def test_a_cluster_of_a_run_has_a_token_of_its_own(joined: list[tuple[str | None, str | None]]) -> None:
    with pytest.raises(ConnectionError):
        process_module._connected("local")
    assert joined == [("local", "token")]
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 32


def test_a_cluster_that_may_ask_for_the_user_s_token_is_joined_with_it_in_the_end(
    joined: list[tuple[str | None, str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"127.0.0.1:{there.getsockname()[1]}"
        with pytest.raises(ConnectionError):
            process_module._connected(address)
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("token")
        with pytest.raises(process_module.Elsewhere) as better:
            process_module._connected(address)
        assert (better.value.address, better.value.environ) == (address, {"RAY_AUTH_MODE": "token"})
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        with pytest.raises(ConnectionError):
            process_module._connected(address)
    assert joined == [(address, None), (address, None), (address, "token")]
    with pytest.raises(ConnectionRefusedError):  # nothing listens there any more, and Ray is not even asked
        process_module._connected(address)
    assert len(joined) == 3


# ---- the process that talks to Ray

FAKE = """
import json, os, sys
wish = json.loads(sys.argv[1])
print(json.dumps({"trouble": json.dumps([wish, sorted(os.environ)])}), flush=True)
"""
WAIT = 'print(json.dumps({"node": "127.0.0.1"}), flush=True); door = sys.stdin.readline(); '
DOOR_TOLD = WAIT + 'print(json.dumps({"trouble": door}), flush=True); sys.stdin.read()'


@contextmanager
def placing(
    monkeypatch: pytest.MonkeyPatch, act: str, environ: Mapping[str, str] | None = None
) -> Iterator[RayPlacement]:
    monkeypatch.setattr(placement_module, "_BOOTSTRAP", (FAKE + act).replace("{", "{{").replace("}", "}}"))
    placement = RayPlacement(Wish("10.0.0.1:6379", 3, True), environ or {})
    try:
        yield placement
    finally:
        placement.end()
        placement.wait()
        assert placement._process.poll() is not None
        assert placement._process.stdout is not None
        placement._process.stdout.close()


def wait_until(condition: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_senders_come_in_by_the_token_that_only_ray_s_process_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = threading.Event()
    with placing(monkeypatch, DOOR_TOLD) as placement:
        placement.on_change(changed.set)
        wait_until(lambda: '"port"' in (placement.trouble or ""))
        door = json.loads(placement.trouble or "")
        assert door["token"] not in str(placement._process.args)
        changed.clear()
        with socket.create_connection((door["host"], door["port"])) as end:
            join(end, bytes.fromhex(door["token"]), 5)
            assert changed.wait(10)
            (arrival,) = placement.arrived()
            assert (arrival.number, placement.trouble, placement.over) == (5, None, None)
            assert placement.arrived() == []
            arrival.connection.close()
    assert placement.over is None  # it ended because it was told to
    with pytest.raises(OSError):
        socket.create_connection((door["host"], door["port"]), 1)


def test_ray_s_process_is_told_what_is_wished_and_has_the_environment_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with placing(monkeypatch, "sys.stdin.read()", {"SAFE": "1"}) as placement:
        wait_until(lambda: placement.trouble)
        wish, names = json.loads(placement.trouble or "")
    assert wish == {"address": "10.0.0.1:6379", "senders": 3, "only_here": True}
    assert "SAFE" in names and "HOME" not in names


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        ("sys.exit(1)", "the process that talks to Ray came to an end (exit code 1)"),
        ("os.kill(os.getpid(), 9)", "the process that talks to Ray came to an end (killed by signal 9)"),
        ('print(json.dumps({"over": "the cluster is gone"}), flush=True); sys.exit(1)', "the cluster is gone"),
        (
            'print(json.dumps({"node": "203.0.113.1"}), flush=True); sys.stdin.read()',
            "no sender can connect to this machine at 203.0.113.1, its address in Ray",
        ),
    ],
)
def test_the_run_learns_why_there_will_be_no_senders(monkeypatch: pytest.MonkeyPatch, act: str, wanted: str) -> None:
    with placing(monkeypatch, act) as placement:
        wait_until(lambda: placement.over)
        assert (placement.over or "").startswith(wanted)


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement_module, "_SECONDS_TO_END", 0.05)
    with placing(monkeypatch, "import time; time.sleep(60)") as placement:
        pass
    assert placement._process.returncode == -signal.SIGKILL
