"""Power loss: what a run wrote is replayed onto a disk that loses what was not synced, at every step.

A SIGKILL cannot show a missing fsync, for the kernel keeps what was written. Here the writes, syncs, renames and
requests of whole runs are recorded, and a disk is built as a power cut after each step could leave it. PYTHONPATH may
name another copy of the package to be tried.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pipeline.journal import ANSWERS, Journal
from tests.crash.conftest import NewJob
from tests.crash.disk import Disk
from tests.crash.job import CONCURRENCY, Job
from tests.crash.processes import Warm
from tests.crash.recording import Send, Step, Sync, record
from tests.crash.strace import require_strace

ROWS = 26
SEED = 20
SURVIVORS_A_STEP = 1
RESUMED = 24
"""How many of the states that were built a run is started from."""


@dataclass
class Recorded:
    """What a journal holds: requests by row, answered rows, and what is billed for sure."""

    requests: Counter[str] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    cost_usd: Decimal = Decimal(0)


@dataclass
class History:
    """Runs that followed each other: all their steps, and after how many of them each one ended with which outputs."""

    job: Job
    steps: list[Step] = field(default_factory=list)
    ends: dict[int, dict[str, bytes]] = field(default_factory=dict)

    def run(self, *arguments: str, code: int) -> None:
        result, steps = record(self.job.directory, self.job.disk, *arguments)
        assert result.code == code, result.err
        self.steps += steps
        self.ends[len(self.steps)] = outputs(self.job.output.parent)


def test_no_power_cut_loses_what_was_acknowledged(
    new_job: NewJob, warm: Warm, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    require_strace()
    began = time.monotonic()
    disk = tmp_path / "disk"
    disk.mkdir()
    job = new_job(ROWS, disk)
    history = History(job)
    history.run("run", "job.yaml", "--limit", "9", code=0)
    history.run("run", "job.yaml", code=job.exit_code)
    history.run("retry-failed", "job.yaml", code=job.exit_code)
    states = 0
    for state in cuts(history, tmp_path):
        states += 1
        check_outputs(history, state)
    sends = sum(isinstance(step, Send) for step in history.steps)
    syncs = sum(isinstance(step, Sync) for step in history.steps)
    record_property("power cuts survived", f"{states}, over {len(history.steps)} steps with {syncs} syncs and {sends}"
                    f" requests, in {time.monotonic() - began:.0f} s")  # fmt: skip


@dataclass(frozen=True)
class State:
    """A disk after a power cut: `at` is the number of steps that had happened."""

    at: int
    path: Path
    is_least: bool
    """Only what was synced is there."""


def cuts(history: History, tmp_path: Path) -> Iterator[State]:
    """Every state that is tried, checked as far as the journal goes; it is removed after use."""
    chance = random.Random(SEED)
    disk, sent = Disk(), Counter[str]()
    for at, step in enumerate(history.steps, 1):
        disk.apply(step)
        if isinstance(step, Send):
            sent[step.row] += 1
        for number in range(1 + SURVIVORS_A_STEP):
            state = State(at, tmp_path / "state", number == 0)
            if state.is_least:
                if not isinstance(step, Send | Sync) and at not in history.ends:
                    continue  # nothing that was synced has changed
                disk.synced(state.path)
            else:
                disk.surviving(state.path, chance)
            check_journal(state.path / "state" / "job", sent)
            yield state
            shutil.rmtree(state.path)


def check_journal(checkpoint: Path, sent: Counter[str]) -> None:
    """The journal is sound, and knows of every request that was sent."""
    found = recorded(checkpoint)
    unknown = sent - found.requests
    assert not unknown, f"sent without being on disk: {unknown}"


def recorded(checkpoint: Path) -> Recorded:
    """What the journal in a directory holds; nothing where there is none."""
    if not Journal.exists(checkpoint):
        return Recorded()
    journal = Journal.read(checkpoint)
    latest = {entry[4]: entry for entry in journal.index()}
    claims = Counter(claim.row_id for claim in journal.claims())
    assert claims.total() <= CONCURRENCY
    requests = claims + Counter({row: int(journal.record(entry[0])["attempts"]) for row, entry in latest.items()})
    answered = {row for row, entry in latest.items() if entry[3] in ANSWERS}
    cost_usd = journal.totals.cost_usd
    journal.close()
    return Recorded(requests, answered, cost_usd)


def check_outputs(history: History, state: State) -> None:
    """Each output is one that a run had published, whole, or is not there; once a run has ended, it is that run's."""
    found = outputs(state.path / "out")
    for name, content in found.items():
        assert content in [published.get(name) for published in history.ends.values()], f"{name} is not whole"
    if state.is_least and state.at in history.ends:
        # An earlier partial output may be back: the next run takes it away again.
        assert found.items() >= history.ends[state.at].items(), "the run had ended, and its output was not on disk"


def outputs(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("answers*")}
