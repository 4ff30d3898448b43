"""The `pipeline` command within the tests' own process, with a directory and an environment of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cli import run_command

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """stdout, which has to be exactly one JSON object on one line."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        assert self.out.count("\n") == 1, self.out
        return found

    @property
    def lines(self) -> list[str]:
        """The lines on stderr."""
        return self.err.splitlines()


def command(*arguments: str, directory: Path, environment: Mapping[str, str]) -> Result:
    """Run the command to its end, away from any terminal."""
    with _streams() as (out, err), _place(directory, environment), _handlers():
        code = run_command(arguments)
    return Result(code or 0, out.getvalue().decode(), err.getvalue().decode())


@contextmanager
def _streams() -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = io.BytesIO(), io.BytesIO()
    texts = [io.TextIOWrapper(raw, "utf-8", errors="replace", line_buffering=True) for raw in (out, err)]
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), *texts
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for text in texts:
            text.detach()


@contextmanager
def _place(directory: Path, environment: Mapping[str, str]) -> Iterator[None]:
    before, variables = os.getcwd(), dict(os.environ)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(before)


@contextmanager
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
