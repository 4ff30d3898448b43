"""A process that has everything imported and forks a child for each run of the command: a script, see `processes.Warm`.

It reads an order from each line of stdin, `{"directory", "arguments", "held", "die_at"}`, and answers with the child's
process id, and then with its wait status. A held child stops before it begins, so that a tracer can attach.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet  # noqa: F401
import requests  # noqa: F401

import pipeline.app.run
import pipeline.cli.progress
import pipeline.cli.summary  # noqa: F401
from pipeline.cli import main
from pipeline.journal import Journal

# <sys/prctl.h>: where the Yama module restricts tracing to a process's ancestors, let any process of this user do it.
_PR_SET_PTRACER, _PR_SET_PTRACER_ANY = 0x59616D61, -1


def serve() -> None:
    """Carry out orders until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _begin(order)
            main()
        if order["held"]:
            os.waitpid(child, os.WUNTRACED)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


def _begin(order: dict[str, Any]) -> None:
    os.chdir(order["directory"])
    for number, name in enumerate(("/dev/null", "stdout", "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    # The checkpoint's id stands in a draft's name, which a tracer has to know beforehand.
    secrets.token_hex = lambda nbytes=None: "0" * 2 * (nbytes or 32)
    sys.argv = ["pipeline", *order["arguments"]]
    if order["die_at"]:
        _die_at(order["die_at"])
    if order["held"]:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)


def _die_at(number: int) -> None:
    """Have this process killed before the given one of its commits, renames and removals, counted from 1."""
    left = number

    def step(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return wrapped

    for owner, name in ((Journal, "commit"), (Path, "rename"), (Path, "unlink")):
        setattr(owner, name, step(getattr(owner, name)))


if __name__ == "__main__":
    serve()
