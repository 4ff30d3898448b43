"""What the crash tests share. `make crash` runs them; how many faults each brought stands at the end of its report."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.job import Job
from tests.crash.processes import Warm

NewJob = Callable[..., Job]


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    started = Warm()
    yield started
    started.close()


@pytest.fixture
def new_job(tmp_path: Path) -> Iterator[NewJob]:
    """Makes jobs of so many rows, one after the other; see `Job`."""
    made: list[Job] = []
    numbers = itertools.count(1)

    def make(rows: int, disk: Path | None = None, *, wide: bool = False) -> Job:
        while made:
            made.pop().close()
        made.append(Job(tmp_path / str(next(numbers)), rows, disk=disk, wide=wide))
        return made[0]

    yield make
    for job in made:
        job.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")
