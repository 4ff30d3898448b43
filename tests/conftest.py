"""What holds for every test, and what those of whole jobs share: the command and the endpoint as processes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.processes import Warm

REPOSITORY = Path(__file__).resolve().parents[1]
KEY = "acceptance-key-4b1d"

# A deadline for each example measures the machine, not the code; pytest-timeout stops what hangs. The parent is the
# profile in force, so that CI keeps the fixed seed that Hypothesis gives it there.
settings.register_profile("repository", settings(), deadline=None)
settings.load_profile("repository")

# A shell starts what is in its background with SIGINT ignored, and processes would inherit that from these tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A make that a test starts is none below `make test`.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)

# What is collected stays. To look for garbage in it while it grows takes a quarter of the collection's time.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Keep what was collected out of every later look for garbage, too: each takes a fifth of a second with it."""
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="session")
def data() -> Path:
    """Where the real prompts are; the project does not carry them."""
    found = Path(os.environ.get("PIPELINE_ACCEPTANCE_DATA") or REPOSITORY.parent / "shared" / "data")
    missing = [name for name in ("gsm8k_test.parquet", "truthfulqa.csv") if not (found / name).is_file()]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found: set PIPELINE_ACCEPTANCE_DATA to the directory that holds them")
    return found


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """What starts the command as a process without the import of everything."""
    started = Warm()
    yield started
    started.close()


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command with the given words; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str | Path, cwd: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *map(str, words)],
            cwd=cwd,
            text=True,
            env={**os.environ, "DATAOORTS_API_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="session")
def simulate(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Starts `pipeline simulate` with a ledger; returns the address for `endpoint.url`."""

    def serve(ledger: Path, **settings: float) -> str:
        words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        server = start("simulate", "--ledger", ledger, *words, cwd=ledger.parent)
        assert server.stdout is not None
        return server.stdout.readline().strip() + "/api/v1"

    return serve
