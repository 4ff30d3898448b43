"""strace: faults injected into the syscalls that touch a job's files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

MISSING = "strace is not here. Debian, Ubuntu: apt install strace; Fedora: dnf install strace"


def require_strace() -> None:
    """Fail by name where there is no strace."""
    if shutil.which("strace") is None:
        pytest.fail(MISSING)


def injecting(
    syscall: str, fault: str, number: int, *, paths: Iterable[Path], log: Path
) -> Callable[[int], subprocess.Popen[str]]:
    """An attachment for `Warm.run` that brings the fault (`signal=SIGKILL`, `error=EIO`) to the given call, counted
    from 1, of a syscall on one of the paths. A killed process does not carry out that call.
    """
    traced = [word for path in paths for word in ("-P", str(path))]
    words = ["strace", "-f", "-o", str(log), *traced, "-e", f"trace={syscall}",
             "-e", f"inject={syscall}:{fault}:when={number}"]  # fmt: skip

    def attach(process: int) -> subprocess.Popen[str]:
        tracer = subprocess.Popen([*words, "-p", str(process)], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            tracer.kill()
            pytest.fail(f"strace cannot trace a process: {said}{tracer.stderr.read()}")
        return tracer

    return attach
