"""What a process under a crash test does before the command begins."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.journal import Journal

# <sys/prctl.h>: where the Yama module restricts tracing to a process's ancestors, let any process of this user do it.
_PR_SET_PTRACER, _PR_SET_PTRACER_ANY = 0x59616D61, -1


def know_the_id() -> None:
    """Give every checkpoint the id 0: it stands in a draft's name, which a tracer has to know beforehand."""
    secrets.token_hex = lambda nbytes=None: "0" * 2 * (nbytes or 32)


def wait_for_the_tracer() -> None:
    """Stop until a tracer has attached, and SIGCONT comes."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def die_at(number: int) -> None:
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
