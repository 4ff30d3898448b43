"""The command, run as a process that can be traced, killed and given a disk of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import processes

KEY = "crash-test-key"
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """How a run ended; a negative code is the signal that ended it."""

    code: int
    out: str
    err: str

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def environment() -> dict[str, str]:
    """That of the tests, with a key. PYTHONPATH stays: it may name another copy of the package to be tried."""
    return {**os.environ, "DATAOORTS_API_KEY": KEY}


PROGRAM = ("-m", "pipeline")
_BEFORE = "tests.crash.before"
_SECONDS = 100


def run(directory: Path, *arguments: str, before: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> Result:
    """Run the command to its end in a new process, behind the words `before` (a tracer, say). `program` is what the
    interpreter is told to run.
    """
    words = [*before, sys.executable, *program, *arguments]
    done = subprocess.run(
        words,
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Warm:
    """Runs the command in children of one process that has imported everything; all checkpoints have the same id."""

    def __init__(self) -> None:
        self._warm = processes.Warm()

    def run(
        self,
        directory: Path,
        *arguments: str,
        die_at: int | None = None,
        attach: Callable[[int], subprocess.Popen[str]] | None = None,
    ) -> Result:
        """Run the command to its end.

        Args:
            die_at: before which of its commits, renames and removals it is killed, counted from 1.
            attach: gets the process id before the run begins, and gives a tracer that is ready.
        """
        before: list[tuple[str, list[int]]] = [(f"{_BEFORE}:know_the_id", [])]
        before += [(f"{_BEFORE}:die_at", [die_at])] if die_at else []
        before += [(f"{_BEFORE}:wait_for_the_tracer", [])] if attach else []
        with self._warm.start(
            *arguments, directory=directory, environment=environment(), before=before, held=attach is not None
        ) as process:
            if attach is None:
                out, err = process.communicate(_SECONDS)
            else:
                with attach(process.pid) as tracer:
                    process.send_signal(signal.SIGCONT)
                    out, err = process.communicate(_SECONDS)
                    tracer.wait(30)
        return Result(process.wait(), out.decode(), err.decode())

    def close(self) -> None:
        self._warm.close()
