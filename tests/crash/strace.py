"""strace: faults injected into the syscalls that touch a job's files."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

MISSING = "strace is not here. Debian, Ubuntu: apt install strace; Fedora: dnf install strace"

CHANGES = ("pwrite64", "write", "ftruncate", "fsync", "fdatasync", "rename", "unlink")
"""Syscalls by which this program and SQLite change what is on disk."""
_CALL = re.compile(r"\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>\S+)(?P<rest>.*)")


@dataclass(frozen=True)
class Call:
    """A line of a log. `path` is the file it was about; `offset` is where a `pwrite64` began."""

    name: str
    path: str
    offset: int | None
    was_injected: bool


def read_log(log: Path) -> list[Call]:
    """The calls of a log that came to their end, in order."""
    calls = []
    for line in log.read_text(encoding="utf-8").splitlines():
        if found := _CALL.match(line):
            arguments = found["arguments"]
            path = re.search(r'"([^"]+)"', arguments) or re.search(r"<([^>]*)>", arguments)
            offset = int(arguments.rpartition(", ")[2]) if found["name"] == "pwrite64" else None
            calls.append(Call(found["name"], path[1] if path else "", offset, "INJECTED" in found["rest"]))
    return calls


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
    syscalls = ",".join({syscall, *CHANGES})
    words = [
        "strace",
        "-f",
        "-y",
        "-s",
        "0",
        "-o",
        str(log),
        *traced,
        "-e",
        f"trace={syscalls}",
        "-e",
        f"inject={syscall}:{fault}:when={number}",
    ]

    def attach(process: int) -> subprocess.Popen[str]:
        tracer = subprocess.Popen([*words, "-p", str(process)], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            tracer.kill()
            pytest.fail(f"strace cannot trace a process: {said}{tracer.stderr.read()}")
        return tracer

    return attach
