"""The process that talks to Ray for a run.

It is told what to do in lines of JSON on stdin, and answers in such lines on stdout. It ends when stdin does, and with
it the actors, which no one else owns.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from pipeline.engines.ray.placer import Address, Placer, Say, in_one_line
from pipeline.records import JsonObject

if TYPE_CHECKING:
    from pipeline.engines.ray.cluster import RayCluster

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_SILENT = 20.0
"""How long the control store may say nothing. After 60 s Ray ends the processes of the cluster by itself."""
_TOKEN_FILE = "~/.ray/auth_token"
_SECONDS_TO_CONNECT = 10.0


def main() -> None:
    """Talk to Ray for a run until it closes stdin; the argument is the wish of the run."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)  # what Ray prints is in its log
    say = partial(_say, out, threading.Lock())
    wish = json.loads(sys.argv[1])
    address = wish["address"]
    try:
        cluster = _connected(address)
    except Elsewhere as better:
        os.dup2(out.fileno(), 1)
        os.environ.update(better.environ)
        # Ray reads from the environment how it proves itself, once and for all.
        os.execv(sys.executable, [*sys.orig_argv[:-1], json.dumps({**wish, "address": better.address})])
    except BaseException as error:
        where = "started" if address in (None, "local") else f"joined at {address}"
        say({"over": f"--engine ray: no cluster can be {where}: {in_one_line(error)}"})
        os._exit(1)
    say({"node": cluster.here})
    if line := sys.stdin.readline():
        told = json.loads(line)
        door = Address(told["host"], told["port"], bytes.fromhex(told["token"]))
        keep(Placer(cluster, door, say, senders=wish["senders"], only_here=wish["only_here"]), say)
    cluster.close()


class Elsewhere(Exception):
    """Another process has to connect: to this address, with this in its environment."""

    def __init__(self, address: str, **environ: str) -> None:
        self.address = address
        self.environ = environ


def _connected(address: str | None) -> RayCluster:
    """Join the cluster at an address, or the one that this machine belongs to, or start one with "local".

    Raises Elsewhere where that has to be tried in another way, and whatever Ray does.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else a call of one thread after another has disconnected would start a cluster.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()  # Ray tries for minutes
    if address == "local":
        # Ray's workers would give way to everything else on this machine, and here all they do is send.
        os.environ.setdefault("RAY_worker_niceness", "0")
    if address == "local" and "RAY_AUTH_MODE" not in os.environ:
        # A token of its own, which Ray would otherwise leave in the home directory: it changes what later drivers do.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16))
    from pipeline.engines.ray.cluster import RayCluster

    try:
        return RayCluster(address)
    except ConnectionError:
        if address is None:
            raise Elsewhere("local") from None
        if "RAY_AUTH_MODE" not in os.environ and _has_token():
            raise Elsewhere(address, RAY_AUTH_MODE="token") from None
        raise


def _has_token() -> bool:
    """Return whether there is a token that a cluster may ask for. Only for "auto" does Ray look for it by itself."""
    names = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    return any(name in os.environ for name in names) or os.path.exists(os.path.expanduser(_TOKEN_FILE))


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
        say({"over": f"Ray has ended: {in_one_line(error)}"})


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
