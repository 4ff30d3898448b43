"""A journal copied while its writer goes on: a whole moment of it, or nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.journal import Changes, Event, Journal, Outcome, State
from pipeline.journal.files import DATABASE_NAME
from pipeline.journal.snapshot import read_copy


def events(first: int, count: int) -> list[Event]:
    return [
        Event(
            1, number, State.ANSWERED, f"row-{number}", f"{number:032x}", 1, "", Outcome(attempts=1, response="x" * 900)
        )
        for number in range(first, first + count)
    ]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / "checkpoint"
    found.mkdir()
    Journal.create(found, job="job", simulated=False)
    return found


@pytest.fixture
def writer(directory: Path) -> Iterator[Journal]:
    with closing(Journal.write(directory)) as journal:
        yield journal


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    found = tmp_path / "scratch"
    found.mkdir()
    return found


def move_log(writer: Journal) -> None:
    """Move all of the log into the database, as the writer does itself when it is long."""
    writer._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def amid_the_copy(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Something happens when the database has been copied and the log has not."""
    copy = shutil.copyfile

    def copyfile(source: Path, target: Path) -> Any:
        copy(source, target)
        if Path(source).name == DATABASE_NAME:
            happens()

    monkeypatch.setattr(shutil, "copyfile", copyfile)


def rows(directory: Path, scratch: Path) -> int | None:
    """The number of events in a copy that is checked whole; None where there is no copy."""
    journal = read_copy(directory, scratch)
    if journal is None:
        return None
    with closing(journal):
        assert [entry.position for entry in journal.index()] == list(range(journal.totals.events))
        return journal.totals.events


def test_a_journal_under_way_is_read_without_touching_it(directory: Path, writer: Journal, scratch: Path) -> None:
    writer.commit(Changes(events(0, 50)))
    move_log(writer)
    writer.commit(Changes(events(50, 50)))
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert rows(directory, scratch) == 100
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    writer.commit(Changes(events(100, 1)))


def test_what_is_moved_and_added_amid_the_copy_does_no_harm(
    directory: Path, writer: Journal, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.commit(Changes(events(0, 200)))

    def happens() -> None:
        writer.commit(Changes(events(200, 50)))
        move_log(writer)

    amid_the_copy(monkeypatch, happens)
    assert rows(directory, scratch) == 250


def test_a_log_that_begins_anew_amid_the_copy_is_no_copy(
    directory: Path, writer: Journal, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.commit(Changes(events(0, 200)))

    def happens() -> None:
        move_log(writer)
        writer.commit(Changes(events(200, 1)))

    amid_the_copy(monkeypatch, happens)
    assert rows(directory, scratch) is None


def test_a_run_that_ends_amid_the_copy_is_no_copy(
    directory: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Journal.write(directory)
    writer.commit(Changes(events(0, 200)))
    amid_the_copy(monkeypatch, writer.close)
    assert rows(directory, scratch) is None


def test_copies_beside_a_busy_writer_hold_all_that_was_acknowledged_before(
    directory: Path, writer: Journal, tmp_path: Path
) -> None:
    writer.commit(Changes(events(0, 20)))
    acknowledged, over = 20, threading.Event()

    def look() -> None:
        for number in range(12):
            scratch = tmp_path / f"copy-{number}"
            scratch.mkdir()
            least = acknowledged
            found = rows(directory, scratch)
            assert found is None or found >= least
            seen.append(found)
        over.set()

    seen: list[int | None] = []
    reader = threading.Thread(target=look)
    reader.start()
    while not over.is_set() and reader.is_alive():
        writer.commit(Changes(events(acknowledged, 20)))
        acknowledged += 20
        if acknowledged % 400 == 0:
            move_log(writer)
    reader.join()
    assert over.is_set()
    assert any(seen)


def test_a_journal_that_is_not_there_is_no_copy(tmp_path: Path, scratch: Path) -> None:
    assert read_copy(tmp_path / "nowhere", scratch) is None
