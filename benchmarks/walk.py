"""Walks the job file through the code of a checkout: python -m benchmarks.walk [DIRECTORY]

A job of two rows is run on the embedded endpoint, in this process. The walk is the modules of the functions that are
given the job, a section of it, or a value that holds one, in the order in which each function is called first. It
returns where it enters a module that it was in before and has left. The embedded endpoint's own code does not count.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).parents[1]

_JOB = {
    "name": "walk",
    "input": {"path": "questions.csv", "id": "id"},
    "prompt": {"user": "{{ question }}"},
    "endpoint": {"url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"},
    "parameters": {"max_tokens": 5},
    "output": {"path": "answers.parquet"},
}
_SETTINGS = "pipeline.config"


@dataclass(frozen=True, slots=True)
class Walk:
    """How many modules a walk visits, and how often it returns to one, in all and the most of one."""

    modules: int
    returns: int
    most: str

    @classmethod
    def of(cls, steps: list[str]) -> Walk:
        """Return the figures of a walk from the module of each function."""
        stays = Counter(module for module, _ in groupby(steps))
        module, number = stays.most_common(1)[0]
        return cls(len(stays), stays.total() - len(stays), f"{number - 1} to {module}")

    def __str__(self) -> str:
        return f"{self.returns} ({self.modules} modules; {self.most})"


class Follower:
    """Notes the module of each function of the package that is given the job, when it is called first."""

    def __init__(self, package: Path) -> None:
        self._package = f"{package}{os.sep}"
        self._known: set[CodeType] = set()
        self.steps: list[str] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Look at an event of the interpreter; `sys.setprofile` takes this."""
        code = frame.f_code
        is_function = bool(code.co_flags & inspect.CO_NEWLOCALS) and not code.co_name.startswith("<")
        if event != "call" or not is_function or code in self._known or not code.co_filename.startswith(self._package):
            return
        module = code.co_filename.removeprefix(self._package).removesuffix(".py")
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if module.startswith("simulator") or not any(_holds(frame.f_locals.get(name)) for name in names):
            return
        self._known.add(code)
        self.steps.append(module)


def _holds(value: object, levels: int = 3) -> bool:
    """Return whether a value is of the job's settings, or of the package and holds one, so many levels deep."""
    kind = type(value)
    if kind.__module__.startswith(_SETTINGS):
        return True
    if not levels or not kind.__module__.startswith("pipeline."):
        return False
    if hasattr(value, "__dict__"):
        return any(_holds(held, levels - 1) for held in list(vars(value).values()))
    names = getattr(kind, "__struct_fields__", getattr(kind, "__slots__", ()))
    return any(_holds(getattr(value, name, None), levels - 1) for name in names)


def walked(root: Path) -> Walk:
    """Return the walk through the package of a directory, made by an interpreter of its own."""
    command = [sys.executable, str(Path(__file__)), str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Walk(**json.loads(done.stdout.splitlines()[-1]))


def main(root: Path) -> None:
    """Walk in this process, and print the figures as JSON."""
    sys.path.insert(0, str(root))
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        Path("questions.csv").write_text("id,question\n1,one\n2,two\n", encoding="utf-8")
        Path("job.yaml").write_text(json.dumps(_JOB), encoding="utf-8")  # JSON is YAML
        from pipeline.cli import main as command

        follower = Follower(root / "pipeline")
        sys.argv = ["pipeline", "run", "job.yaml", "--quiet"]
        sys.setprofile(follower)
        try:
            command()
        except SystemExit as ended:
            if ended.code:
                raise
        finally:
            sys.setprofile(None)
            os.chdir("/")
    walk = Walk.of(follower.steps)
    print(json.dumps({"modules": walk.modules, "returns": walk.returns, "most": walk.most}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
