"""A process that is ready for the command, and forks a child for each run of it; see `processes.Warm`.

Starting the interpreter, importing and building the models takes most of a short run. What a child is told comes over a
socket of its own, with the streams it is to have.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pipeline
from pipeline.cli import main
from pipeline.cli.memory import keep_little
from tests.support.commands import command

_THIRD_PARTY = ("jinja2.sandbox", "pyarrow.csv", "pyarrow.parquet", "requests", "ruamel.yaml")
"""What the program imports where it needs it."""
_LEFT_OUT = (
    "pipeline.api",
    "pipeline.app.use_cases.quality",
    "pipeline.engines.ray",
    "pipeline.quality",
    "pipeline.report",
)
"""What brings pandas, Ray and matplotlib, which few commands need."""
_JOB = {
    "name": "job",
    "input": {"path": "in.jsonl"},
    "prompt": {"user": "{{ question }}"},
    "endpoint": {"url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"},
    "output": {"path": "out.parquet"},
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(control: socket.socket) -> None:
    """Fork a keeper for each message until the socket ends. A message is a byte with four descriptors: of the socket
    for the order, and of stdin, stdout and stderr.
    """
    while descriptors := socket.recv_fds(control, 1, 4)[1]:
        if not os.fork():
            control.close()
            _keep(socket.socket(fileno=descriptors[0]), descriptors[1:])
        for descriptor in descriptors:
            os.close(descriptor)
        _bury()


def _bury() -> None:
    """Take down the keepers that have ended; the system adds up what all of them used."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(channel: socket.socket, streams: list[int]) -> None:
    """Fork the command, say its process id, and then its wait status. Returns in the command's own process."""
    with channel, channel.makefile("rw") as lines:
        order = json.loads(lines.readline())
        child = os.fork()
        if child:
            _watch(child, lines, streams, is_held=order["held"])
    _become(order, streams)
    _run(order)


def _run(order: dict[str, Any]) -> None:
    for name, arguments in order["before"]:
        module, _, function = name.partition(":")
        getattr(importlib.import_module(module), function)(*arguments)
    try:
        main()
    except SystemExit as ended:
        _leave(ended)


def run_script(script: str, *arguments: str) -> NoReturn:
    """Run a file of Python instead of the command."""
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
    _leave(SystemExit(0))


def _leave(ended: SystemExit) -> NoReturn:
    """End without taking the interpreter apart, which would copy every page that is shared."""
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does: idle threads of executors are ended
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(int(ended.code or 0))


def _watch(child: int, lines: Any, streams: list[int], *, is_held: bool) -> NoReturn:
    for stream in streams:
        os.close(stream)
    try:
        if is_held:
            os.waitpid(child, os.WUNTRACED)
        print(child, file=lines, flush=True)
        print(os.waitpid(child, 0)[1], file=lines, flush=True)
    finally:  # also where nobody listens any more
        os._exit(0)


def _become(order: dict[str, Any], streams: list[int]) -> None:
    """Take on what a new process would have from the one that starts it."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        buffering = 1 if name == "stderr" or os.isatty(number) else -1
        mode, errors = before.mode, before.errors
        setattr(sys, name, open(number, mode, buffering, before.encoding, errors, closefd=False))  # noqa: SIM115
    for signum in _SIGNALS:
        usual = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
        signal.signal(signum, signal.SIG_IGN if signum in order["ignored"] else usual)
    os.umask(order["umask"])
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    sys.argv = ["pipeline", *order["arguments"]]


def _import_everything() -> None:
    _import_below(pipeline)
    for name in _THIRD_PARTY:
        importlib.import_module(name)


def _import_below(package: ModuleType) -> None:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.name in _LEFT_OUT or found.name.endswith("__main__"):
            continue
        with suppress(ModuleNotFoundError):  # of an extra that is not installed
            module = importlib.import_module(found.name)
            if found.ispkg:
                _import_below(module)


def _make_ready() -> None:
    """Check a job, so that no child has to build the models and lexers."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "in.jsonl").write_text('{"question": "why?"}\n', encoding="utf-8")
        (directory / "job.yaml").write_text(json.dumps(_JOB), encoding="utf-8")
        checked = command("validate", "job.yaml", "--json", directory=directory, environment=os.environ)
    assert checked.code == 0, checked


if __name__ == "__main__":
    keep_little()  # before numpy is imported
    _import_everything()
    _make_ready()
    gc.freeze()  # pages that no collection touches stay shared with the children
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        serve(orders)
