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
        timeout=100,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Warm:
    """Runs the command in children of one process that has imported everything, which takes most of a short run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: the script's own directory holds nothing to import.
            [sys.executable, "-P", str(Path(__file__).with_name("warm.py"))],
            cwd=REPOSITORY,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

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
        order = {"directory": str(directory), "arguments": arguments, "held": attach is not None, "die_at": die_at}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = self._answer()
        if attach is None:
            status = self._answer()
        else:
            with attach(child) as tracer:
                os.kill(child, signal.SIGCONT)
                status = self._answer()
                tracer.wait(30)
        out, err = ((directory / name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        return Result(os.waitstatus_to_exitcode(status), out, err)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())
