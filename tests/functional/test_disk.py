"""FAULTS.md, "Disk": full, read-only and failing ones. Exit 6 names the file, and nothing acknowledged is lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.use_cases.export import export_answers
from pipeline.errors import CheckpointFailed
from pipeline.journal import Journal
from pipeline.sink import groups, results
from tests.functional.conftest import Endpoint, Workspace, answer, ended
from tests.support.namespaces import namespace

BIG = "x" * 20_000
SAFE = "every acknowledged answer is in its checkpoint"


@dataclass(frozen=True)
class Disk:
    """A small file system at `disk/` of a workspace, in a mount namespace that its commands enter."""

    path: Path
    """Where the tests, which stand outside, see it."""
    mount: Callable[[str], None]
    """Mounts it anew with other options, such as `size=1m` or `ro`."""


@pytest.fixture
def disk(ws: Workspace) -> Iterator[Disk]:
    """Sized a mebibyte. Skips where the system lets no one make a namespace."""
    place = ws.path / "disk"
    place.mkdir()
    with namespace('mount -t tmpfs -o size=1m tmpfs "$PWD/disk"', ws.path) as process:

        def mount(options: str) -> None:
            inside = ("nsenter", "--target", str(process), "--user", "--mount", "--preserve-credentials")
            subprocess.run([*inside, "mount", "-o", f"remount,{options}", str(place)], check=True)

        ws.before = [("tests.support.namespaces:enter", (process, str(ws.path)))]
        yield Disk(Path(f"/proc/{process}/root{place}"), mount)


def test_a_disk_that_is_full_at_a_commit_stops_the_run_and_keeps_what_was_acknowledged(
    ws: Workspace, endpoint: Endpoint, disk: Disk
) -> None:
    ws.questions(*range(60))
    ws.job(checkpoint={"path": "disk/checkpoint"}, limits={"concurrency": 3})
    endpoint.reply = lambda asked: answer(BIG)
    found = ws.run(code=6)
    message = found["error"]["message"]
    assert all(words in message for words in ("disk/checkpoint", "full", "free some space", SAFE)), message
    done = found["succeeded"]
    assert 0 < done < 60
    assert done <= len(endpoint.asked) <= done + 2 * 3
    assert Decimal(found["job_cost_usd"]) == done * Decimal("0.00001")
    assert Decimal(found["possibly_billed_usd"]) > 0
    asked = len(endpoint.asked)
    assert ws.run(code=6)["error"]["kind"] == "checkpoint_failed"  # as long as the cause is there
    disk.mount("size=20m")
    assert ws.command("status")["succeeded"] >= done
    found = ws.run()
    assert (found["succeeded"], found["requests"]) == (60, len(endpoint.asked) - asked)
    assert len(endpoint.asked) <= 60 + 2 * 3
    assert {row["response"] for row in ws.rows()} == {BIG}


def test_a_disk_that_is_full_before_the_first_call_sends_nothing(ws: Workspace, endpoint: Endpoint, disk: Disk) -> None:
    ws.questions(*range(1000))
    ws.job(checkpoint={"path": "disk/checkpoint"})
    for size in ("4k", "32k", "100k"):  # for the lock, the scratch database, the journal
        disk.mount(f"size={size}")
        result = ws.pipeline("run", "job.yaml", "--json")
        assert (result.code, len(result.lines)) == (6, 1), result
        assert "disk/checkpoint" in result.data["error"]["message"]
    assert not endpoint.asked
    assert not list(disk.path.rglob("planning*"))
    disk.mount("size=10m")
    assert ws.run("--limit", "3")["succeeded"] == 3


def test_a_disk_that_is_full_at_publishing_says_that_the_answers_are_safe(
    ws: Workspace, endpoint: Endpoint, disk: Disk
) -> None:
    ws.questions(*range(20))
    ws.job(output={"path": "disk/out.parquet", "compression": "none"})
    endpoint.reply = lambda asked: answer(os.urandom(50_000).hex())
    result = ws.pipeline("run", "job.yaml", "--json")
    assert (result.code, result.data["succeeded"], result.data["output"]) == (6, 20, None)
    assert all(words in result.data["error"]["message"] for words in ("disk/out.parquet", "No space left", SAFE))
    assert len(result.lines) == 1 and "20 answered" in result.err
    assert not list(disk.path.iterdir())
    exported = ws.pipeline("export", "job.yaml", "--to", "jsonl", "disk/out.jsonl")
    assert (exported.code, len(exported.lines)) == (6, 1)
    assert "disk/out.jsonl" in exported.err and not list(disk.path.iterdir())
    disk.mount("size=20m")
    assert ws.run()["requests"] == 0
    assert (disk.path / "out.parquet").exists()
    assert len(endpoint.asked) == 20


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("output.path", {"output": {"path": "disk/new/out.parquet"}}),
        ("checkpoint.path", {"checkpoint": {"path": "disk/new/checkpoint"}}),
    ],
)
def test_a_disk_that_cannot_be_written_to_is_exit_2_before_anything_is_sent(
    ws: Workspace, endpoint: Endpoint, disk: Disk, key: str, section: dict[str, Any]
) -> None:
    ws.questions("a")
    ws.job(**section)
    disk.mount("ro")
    found = ws.run(code=2)
    assert key in found["error"]["message"] and "cannot be written to" in found["error"]["message"]
    assert not endpoint.asked


def test_a_disk_that_turns_read_only_before_publishing_is_exit_6_and_loses_nothing(
    ws: Workspace, endpoint: Endpoint, disk: Disk
) -> None:
    ws.questions(*range(8))
    ws.job(limits={"concurrency": 2}, output={"path": "disk/out.parquet"})
    endpoint.gate.clear()
    with ws.running() as process:
        endpoint.wait_for(2)
        disk.mount("ro")
        endpoint.gate.set()
        result = ended(process)
    assert (result.code, result.data["succeeded"]) == (6, 8), result
    message = result.data["error"]["message"]
    assert all(words in message for words in ("disk/out.parquet", "Read-only", "make it writable", SAFE)), message
    disk.mount("rw")
    assert ws.run()["requests"] == 0
    assert len(endpoint.asked) == 8


def test_too_little_space_is_a_warning_where_people_watch_and_silence_in_cron(
    ws: Workspace, endpoint: Endpoint, disk: Disk
) -> None:
    ws.questions("a", "b")
    ws.job(checkpoint={"path": "disk/checkpoint"}, parameters={"max_tokens": 10_000})
    shown = ws.pipeline("run", "job.yaml", "--limit", "1", "--verbose")
    assert shown.code == 0
    assert [
        line for line in shown.lines if line.startswith("warning: checkpoint.path: ") and "free on that disk" in line
    ]
    assert ws.pipeline("run", "job.yaml", "--limit", "1").err == ""
    assert "warning" not in ws.pipeline("run", "job.yaml", "--verbose", "--set", "checkpoint.path=roomy").err


def failing(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail_for_outputs(path: Path) -> None:
    if path.suffix == ".writing":
        failing()


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("storage.atomic.sync_file", fail_for_outputs),
        ("sink.publishing.write_rows", failing),
        ("sink.publishing.check_file", failing),
    ],
)
def test_an_error_of_the_disk_while_publishing_leaves_what_stood_there(
    ws: Workspace,
    endpoint: Endpoint,
    step: str,
    fault: Callable[..., None],
    run_here: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    before = ws.table()
    ws.questions("a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeline.{step}", fault)
        run = run_here()
        with pytest.raises(CheckpointFailed, match=f"out.parquet.*see to the disk.*{SAFE}"):
            run.execute()
    assert (run.summary.exit_code, run.summary.succeeded) == (6, 2)
    assert ws.table() == before
    assert not [name for name in ws.files() if "writing" in name]
    assert ws.run()["requests"] == 0
    assert len(endpoint.asked) == ws.table().num_rows == 2


@pytest.mark.parametrize("group", [0, 1, 2, 3])
def test_an_error_of_the_disk_at_any_row_group_leaves_what_stood_there(
    ws: Workspace, endpoint: Endpoint, group: int, run_here: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # All but the last group are written by another thread, while the next one is joined.
    ws.questions(*"abcdefg")
    ws.job()
    monkeypatch.setattr(results, "_ROWS_AT_FIRST", 2)
    monkeypatch.setattr(results, "_MAX_ROWS_PER_SLICE", 2)
    monkeypatch.setattr(groups, "_MAX_ROWS", 2)
    written = []

    def fails_at(self: pq.ParquetWriter, table: pa.Table) -> None:
        written.append(table.num_rows)
        failing() if len(written) == group + 1 else write_table(self, table)

    write_table = pq.ParquetWriter.write_table
    with monkeypatch.context() as fault:
        fault.setattr(pq.ParquetWriter, "write_table", fails_at)
        run = run_here()
        with pytest.raises(CheckpointFailed, match=f"out.parquet.*see to the disk.*{SAFE}"):
            run.execute()
    assert (run.summary.exit_code, run.summary.succeeded) == (6, 7)
    assert written[: group + 1] == [2, 2, 2, 1][: group + 1]
    assert not [name for name in ws.files() if name.startswith("out.") or "writing" in name]
    assert run_here().execute().requests == 0
    assert [row["response"] for row in ws.rows()] == ["answer to " + letter for letter in "abcdefg"]
    assert pq.ParquetFile(ws.path / "out.parquet").num_row_groups == 4


@pytest.mark.parametrize("commit", [3, 6])
def test_after_a_commit_that_failed_nothing_more_is_sent(
    ws: Workspace, endpoint: Endpoint, commit: int, run_here: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions(*range(30))
    ws.job(limits={"concurrency": 2})
    commits: list[int] = []
    original = Journal.commit

    def fail(journal: Journal, *arguments: Any, **named: Any) -> int:
        commits.append(len(endpoint.asked))
        if len(commits) >= commit:
            raise CheckpointFailed("the journal cannot be written to")
        return original(journal, *arguments, **named)

    with monkeypatch.context() as fault:
        fault.setattr(Journal, "commit", fail)
        run = run_here()
        with pytest.raises(CheckpointFailed):
            run.execute()
    assert len(commits) == commit  # and no further one was tried
    summary = run.summary
    assert summary.exit_code == 6
    assert summary.succeeded <= len(endpoint.asked) <= summary.succeeded + 2 * 2
    asked = len(endpoint.asked)
    again = ws.run()
    assert (again["succeeded"], again["requests"]) == (30, 30 - summary.succeeded)
    # What the first run had in flight may have reached the endpoint only after it ended.
    assert asked <= len(endpoint.asked) - again["requests"] <= summary.succeeded + 2 * 2


def test_an_export_that_the_disk_fails_leaves_nothing_half(
    ws: Workspace, run_here: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a")
    ws.job()
    run_here().execute()
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(CheckpointFailed, match=r"out\.csv.*see to the disk"):
        export_answers(load_job("job.yaml"), "csv", ws.path / "out.csv")
    assert not [name for name in ws.files() if "out.csv" in name]


@pytest.mark.parametrize("command", ["validate", "estimate"])
def test_a_disk_that_fails_where_rows_are_counted_is_exit_6(
    ws: Workspace, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.questions("a")
    ws.job()
    monkeypatch.setattr(os, "pwrite", failing)
    result = ws.pipeline(command, "job.yaml")
    assert (result.code, result.out) == (6, "")
    assert "cannot plan" in result.err
    assert "Traceback" not in result.err
