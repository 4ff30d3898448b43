"""Power loss: what a run wrote is replayed onto a disk that loses what was not synced, at every step.

A SIGKILL cannot show a missing fsync, for the kernel keeps what was written. Here the writes, syncs, renames and
requests of whole runs are recorded, and a disk is built as a power cut after each step could leave it. PYTHONPATH may
name another copy of the package to be tried.
"""

from __future__ import annotations

import io
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.journal import ANSWERS, Journal
from tests.crash.conftest import NewJob
from tests.crash.disk import Disk
from tests.crash.job import CONCURRENCY, Job, known_cost
from tests.crash.processes import PROGRAM, Warm
from tests.crash.recording import Open, Send, Step, Sync, record
from tests.crash.strace import require_strace

ROWS = 26
SEED = 20
STATES_A_RESUME = 40
"""From every so many-th of the states that are built, a run is started."""
SMALL_LOG = (
    "-c",
    "import pipeline.journal.store as store; store._LOG_BYTES //= 100; from pipeline.cli import main; main()",
)
"""The program, with a write-ahead log that is moved into the database every few commits."""
LOG = "state/job/journal.sqlite-wal"


@dataclass
class History:
    """Runs that followed each other: all their steps, and after how many of them each one ended with which outputs."""

    job: Job
    steps: list[Step] = field(default_factory=list)
    ends: dict[int, dict[str, bytes]] = field(default_factory=dict)

    def run(self, *arguments: str, code: int, program: Sequence[str] = PROGRAM) -> None:
        result, steps = record(self.job.directory, self.job.disk, *arguments, program=program)
        assert result.code == code, result.err
        self.steps += steps
        self.ends[len(self.steps)] = outputs(self.job.output.parent)


def whole_job(job: Job) -> History:
    """A job that stops early, goes on to its end, and is published anew."""
    history = History(job)
    history.run("run", "job.yaml", "--limit", "9", code=0)
    history.run("run", "job.yaml", code=job.exit_code)
    history.run("retry-failed", "job.yaml", code=job.exit_code)
    return history


def small_log(job: Job) -> History:
    """A job whose log moves into the database, and begins again, while it runs."""
    history = History(job)
    history.run("run", "job.yaml", code=job.exit_code, program=SMALL_LOG)
    return history


def killed_before_a_sync(job: Job) -> History:
    """A job that is killed when its last answers are written and not yet synced, and then has only to publish them."""
    whole = History(job)
    whole.run("run", "job.yaml", code=job.exit_code)
    publishing = next(at for at, step in enumerate(whole.steps) if isinstance(step, Open) and "out/" in step.path)
    synced = max(at for at in range(publishing) if whole.steps[at] == Sync(LOG, is_data_only=True))
    disk = Disk()
    for step in whole.steps[:synced]:
        disk.apply(step)
    shutil.rmtree(job.disk)
    disk.as_it_is(job.disk)
    history = History(job, whole.steps[:synced])
    history.run("run", "job.yaml", code=job.exit_code)
    assert not any(isinstance(step, Send) for step in history.steps[synced:]), "it was to have only to publish"
    return history


@pytest.mark.parametrize("runs", [whole_job, small_log, killed_before_a_sync])
def test_no_power_cut_loses_what_was_acknowledged(
    runs: Callable[[Job], History],
    new_job: NewJob,
    warm: Warm,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    require_strace()
    began = time.monotonic()
    disk = tmp_path / "disk"
    disk.mkdir()
    history = runs(new_job(ROWS, disk))
    states = resumed = 0
    for state in states_after_power_cuts(history, tmp_path / "state"):
        states += 1
        found = recorded(state.checkpoint)
        unknown = state.sent - found.requests
        assert not unknown, f"sent without being on disk: {unknown}"
        check_outputs(history, state, found)
        if states % STATES_A_RESUME == 0:
            resumed += 1
            check_resume(history.job, state, found, warm)
    sends = sum(isinstance(step, Send) for step in history.steps)
    syncs = sum(isinstance(step, Sync) for step in history.steps)
    record_property(
        "power cuts survived",
        f"{states}, {resumed} of them with a run to the end, over"
        f" {len(history.steps)} steps with {syncs} syncs and {sends} requests, in"
        f" {time.monotonic() - began:.0f} s",
    )


@dataclass(frozen=True)
class State:
    """A disk after a power cut. `at` is the number of steps that had happened, `sent` the requests by row, and
    `is_least` says that nothing is there but what was synced.
    """

    path: Path
    at: int
    sent: Counter[str]
    is_least: bool

    @property
    def checkpoint(self) -> Path:
        return self.path / "state" / "job"


def states_after_power_cuts(history: History, path: Path) -> Iterator[State]:
    """After each step, the least that is left where that has changed, and one of the many that may be left."""
    chance = random.Random(SEED)
    disk, sent = Disk(), Counter[str]()
    for at, step in enumerate(history.steps, 1):
        disk.apply(step)
        if isinstance(step, Send):
            sent[step.row] += 1
        if isinstance(step, Send | Sync) or at in history.ends:
            disk.synced(path)
            yield State(path, at, sent, True)
            shutil.rmtree(path, ignore_errors=True)
        disk.surviving(path, chance)
        yield State(path, at, sent, False)
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Recorded:
    """What a journal holds: requests by row, answered rows, and what is billed for sure."""

    requests: Counter[str] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    cost_usd: Decimal = Decimal(0)


def recorded(checkpoint: Path) -> Recorded:
    """What the journal in a directory holds, which must be sound; nothing where there is none."""
    if not Journal.exists(checkpoint):
        return Recorded()
    journal = Journal.read(checkpoint)
    latest = {entry.row_id: entry for entry in journal.index()}
    claims = Counter(claim.row_id for claim in journal.claims())
    assert claims.total() <= CONCURRENCY
    requests = claims + Counter({row: journal.record(entry.seq).attempts for row, entry in latest.items()})
    answered = {row for row, entry in latest.items() if entry.state in ANSWERS}
    cost_usd = journal.totals.cost_usd
    journal.close()
    return Recorded(requests, answered, cost_usd)


def check_outputs(history: History, state: State, found: Recorded) -> None:
    """Each output is one that a run had published, whole, or is not there; once a run has ended, it is that run's."""
    standing = outputs(state.path / "out")
    for name, content in standing.items():
        assert content in [published.get(name) for published in history.ends.values()], f"{name} is not whole"
        rows = pq.read_table(io.BytesIO(content), columns=["row_id", "status"]).to_pylist()
        answered = {row["row_id"] for row in rows if row["status"] == "succeeded"}
        assert answered <= found.answered, f"{name} has answers that the journal lost"
    if state.is_least and state.at in history.ends:
        # An earlier partial output may be back: the next run takes it away again.
        assert standing.items() >= history.ends[state.at].items(), "the run had ended, and its output was not on disk"


def outputs(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("answers*")}


def check_resume(job: Job, state: State, found: Recorded, warm: Warm) -> None:
    """A run from the state brings the job to its end, asks for nothing that was recorded, and counts all that was."""
    shutil.rmtree(job.disk)
    state.path.rename(job.disk)
    asked_before = {row: len(exchanges) for row, exchanges in job.exchanges().items()}
    result = warm.run(job.directory, "run", "job.yaml", "--json")
    assert result.code == job.exit_code, result.err
    asked = {row: exchanges[asked_before.get(row, 0) :] for row, exchanges in job.exchanges().items()}
    for line in job.check_output():
        row = line["id"]
        assert not (asked[row] and row in found.answered), f"row {row} was answered, and asked again"
        assert line["attempts"] == found.requests[row] + len(asked[row])
    new = sum((known_cost(exchange) for exchanges in asked.values() for exchange in exchanges), Decimal(0))
    assert Decimal(result.summary["job_cost_usd"]) == found.cost_usd + new
