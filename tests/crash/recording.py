"""What a run did to its files and when it sent requests, recorded with strace and read back as steps."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.processes import PROGRAM, Result, run

_SYSCALLS = (
    "openat",
    "lseek",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "mkdir",
    "sendto",
    # None of these is expected, and none is understood: see `_steps`.
    "pwritev",
    "writev",
    "fallocate",
    "truncate",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlinkat",
    "rmdir",
    "mkdirat",
    "copy_file_range",
    "sendfile",
    "sync_file_range",
    "msync",
    "syncfs",
)
_LINE = re.compile(r"(?P<process>\d+) +(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\w+)")
_UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True)
class Open:
    """A file made or emptied."""

    path: str
    is_emptied: bool


@dataclass(frozen=True)
class Write:
    path: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    path: str
    size: int


@dataclass(frozen=True)
class Sync:
    """A file's content, or a directory's entries, are on disk; `is_data_only` tells fdatasync from fsync."""

    path: str
    is_data_only: bool


@dataclass(frozen=True)
class Rename:
    path: str
    target: str


@dataclass(frozen=True)
class Unlink:
    path: str


@dataclass(frozen=True)
class Mkdir:
    path: str


@dataclass(frozen=True)
class Send:
    """A request goes out for the row."""

    row: str


Step = Open | Write | Truncate | Sync | Rename | Unlink | Mkdir | Send


def record(directory: Path, disk: Path, *arguments: str, program: Sequence[str] = PROGRAM) -> tuple[Result, list[Step]]:
    """Run the command, and give its steps: changes under `disk`, with paths relative to it, and requests sent."""
    log = directory / "recording.log"
    tracing = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        str(2**24),
        "-o",
        str(log),
        "-e",
        "signal=none",
        "-e",
        f"trace={','.join(_SYSCALLS)}",
    ]
    result = run(directory, *arguments, before=tracing, program=program)
    assert log.exists(), result.err
    root = os.fsencode(disk) + b"/"
    steps = list(_steps(log, root))
    log.unlink()
    return result, steps


def _steps(log: Path, root: bytes) -> Iterator[Step]:
    """The steps of a log. A call that fails changes nothing; one that is not understood is a failure of the test."""
    positions: dict[str, int] = {}
    for name, arguments, result in _calls(log):
        path = _path(name, arguments)
        if name == "sendto":
            if body := _string(arguments[1]).partition(b"\r\n\r\n")[2]:
                yield Send(json.loads(body)["data"]["messages"][0]["content"].split()[1])
            continue
        if not (path + b"/").startswith(root) or result.startswith("-"):
            continue
        place = os.fsdecode(path[len(root) :])
        match name:
            case "openat":
                descriptor = result
                positions[descriptor] = 0
                if "O_CREAT" in arguments[2] or "O_TRUNC" in arguments[2]:
                    yield Open(place, "O_TRUNC" in arguments[2])
            case "lseek":
                positions[_descriptor(arguments[0])] = int(result)
            case "write":
                descriptor = _descriptor(arguments[0])
                yield Write(place, positions[descriptor], _string(arguments[1])[: int(result)])
                positions[descriptor] += int(result)
            case "pwrite64":
                yield Write(place, int(arguments[3]), _string(arguments[1])[: int(result)])
            case "ftruncate":
                yield Truncate(place, int(arguments[1]))
            case "fsync" | "fdatasync":
                yield Sync(place, name == "fdatasync")
            case "rename":
                yield Rename(place, os.fsdecode(_string(arguments[1])[len(root) :]))
            case "unlink":
                yield Unlink(place)
            case "mkdir":
                yield Mkdir(place)
            case _:
                raise AssertionError(f"{name} of {place}: not understood yet")


def _calls(log: Path) -> Iterator[tuple[str, list[str], str]]:
    """Each call with its arguments and result, when it returned; a `sendto` when it began, for it may have arrived."""
    begun: dict[str, str] = {}
    with log.open(encoding="ascii") as lines:
        for line in lines:
            found = _LINE.match(line)
            assert found is not None, line[:200]
            process, rest = found["process"], found["rest"]
            if rest.endswith(_UNFINISHED):
                begun[process] = rest.removesuffix(_UNFINISHED)
                if rest.startswith("sendto("):
                    yield "sendto", begun[process].partition("(")[2].split(", "), "0"
                continue
            if resumed := _RESUMED.match(rest):
                if begun[process].startswith("sendto("):
                    continue
                rest = begun.pop(process) + resumed["rest"]
            if call := _CALL.match(rest):
                yield call["name"], call["arguments"].split(", "), call["result"].partition("<")[0]


def _path(name: str, arguments: list[str]) -> bytes:
    if name == "openat":
        return _string(arguments[1])
    if arguments[0].startswith('"'):
        return _string(arguments[0])
    descriptor = arguments[0].partition("<")[2]
    if descriptor.endswith("(deleted)"):
        return b""  # a file without a name, of which no power cut leaves anything
    return _bytes(descriptor.removesuffix(">"))


def _descriptor(argument: str) -> str:
    return argument.partition("<")[0]


def _string(argument: str) -> bytes:
    return _bytes(argument.strip('"'))


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))
