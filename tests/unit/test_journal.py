"""The journal and the job's lock: what was acknowledged is there after any end, or its loss is named."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipeline.errors import CheckpointFailed, JobLocked
from pipeline.journal import (
    Changes,
    Claim,
    Event,
    JobLock,
    Journal,
    State,
    Totals,
    lost_claims,
    read_progress,
    write_progress,
)
from pipeline.journal.outcome import Outcome, decode, encode


def event(number: int, state: State = State.ANSWERED, **record: Any) -> Event:
    found = decode({"attempts": 1, **record})
    return Event(1, number, state, f"row-{number}", f"{number:032x}", 1, f"{number:032d}", found)


def claim(number: int, worst_cost: str | None = "0.25") -> Claim:
    history = {"attempts": number, "cost_usd": "0.5", "failed_runs": 0}
    return Claim(number, 1, number, f"row-{number}", f"{number:032x}", 1, "c", 1.5e9, worst_cost, 70, decode(history))


def in_a_child(work: Callable[[], None]) -> int:
    """Do the work in a forked process that ends without any clearing up. Returns its wait status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads; the child only exits
        child = os.fork()
    if not child:
        with suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1]


def kept_files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}


@contextmanager
def writing(directory: Path) -> Iterator[Journal]:
    with closing(Journal.write(directory)) as journal:
        yield journal


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    path.mkdir(mode=0o700)
    Journal.create(path, job="job", simulated=True)
    return path


def fill(directory: Path, groups: int = 3) -> None:
    with writing(directory) as journal:
        for group in range(groups):
            journal.commit(Changes([event(2 * group), event(2 * group + 1)], cost_usd=Decimal("0.1")))


def fill_and_die(directory: Path, groups: int = 3) -> None:
    """Leave the write-ahead log behind, as a kill does."""

    def work() -> None:
        journal = Journal.write(directory)
        for group in range(groups):
            journal.commit(Changes([event(2 * group), event(2 * group + 1)], cost_usd=Decimal("0.1")))
        os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_a_child(work)) == signal.SIGKILL
    assert (directory / "journal.sqlite-wal").stat().st_size


# ---- what is written is read


def test_events_come_back_with_their_records_in_order(directory: Path) -> None:
    answer = "ä\0\n\r\u2028 {{ 😀" + "x" * 1_000_000
    with writing(directory) as journal:
        assert journal.commit(Changes([event(0, response="one"), event(1, State.FAILED)])) == 1
        assert journal.commit(Changes([event(2, response=answer)])) == 3
        assert journal.record(3).response == answer
    with closing(Journal.read(directory)) as journal:
        assert [entry.seq for entry in journal.index()] == [1, 2, 3]
        assert list(journal.index())[1] == (2, 1, 1, State.FAILED, "row-1", f"{1:032x}", 1, f"{1:032d}", 0)
        found = list(journal.records([3, 1]))
        assert [entry.seq for entry, _ in found] == [1, 3]
        assert found[1][1] == Outcome(attempts=1, response=answer)
        assert (journal.job, journal.simulated) == ("job", True)


def test_an_adoption_names_the_event_it_takes_over(directory: Path) -> None:
    with writing(directory) as journal:
        journal.commit(Changes([event(0), event(1, State.ADOPTED, source=1)]))
    with closing(Journal.read(directory)) as journal:
        assert [entry.source for entry in journal.index()] == [0, 1]


def test_a_record_that_is_not_there_is_no_silent_gap(directory: Path) -> None:
    fill(directory)
    with closing(Journal.read(directory)) as journal:
        with pytest.raises(CheckpointFailed, match="missing"):
            list(journal.records([1, 99]))
        with pytest.raises(CheckpointFailed, match="missing"):
            journal.record(99)


def test_thousands_of_rows_go_into_one_commit_and_come_back(directory: Path) -> None:
    with writing(directory) as journal:
        journal.commit(Changes([event(n) for n in range(2500)], claims=[claim(n) for n in range(2500)]))
        journal.commit(Changes(release=range(2400)))
        assert [one.number for one in journal.claims()] == list(range(2400, 2500))
    with closing(Journal.read(directory)) as journal:
        assert sum(1 for _ in journal.index()) == 2500
        assert sum(1 for _ in journal.records(range(1, 2501))) == 2500


def test_totals_add_up_exactly_and_survive(directory: Path) -> None:
    with writing(directory) as journal:
        for _ in range(10):
            journal.commit(
                Changes(
                    [event(0)],
                    cost_usd=Decimal("0.000000000001"),
                    possibly_billed_usd=Decimal("0.1"),
                    possibly_billed_requests=2,
                )
            )
        journal.commit(Changes(claims=[claim(1), claim(2)], plan=7))
    with closing(Journal.read(directory)) as journal:
        assert journal.totals == Totals(
            commits=11,
            events=10,
            claims=2,
            cost_usd=Decimal("0.000000000010"),
            possibly_billed_usd=Decimal("1.0"),
            possibly_billed_requests=20,
            plan=7,
        )


def test_of_two_pauses_the_one_that_lasts_longer_counts(directory: Path) -> None:
    with writing(directory) as journal:
        journal.commit(Changes(pause=(100.0, 160.0)))
        journal.commit(Changes(pause=(110.0, 115.0)))
        assert journal.totals.pause == (100.0, 160.0)
        journal.commit(Changes(pause=(120.0, 170.0)))
        assert journal.totals.pause == (120.0, 170.0)
        # The clock went back by a minute: the standing pause still has all of its 50 s to go.
        journal.commit(Changes(pause=(60.0, 90.0)))
        assert journal.totals.pause == (120.0, 170.0)
        journal.commit(Changes(pause=(61.0, 121.0)))
        assert journal.totals.pause == (61.0, 121.0)


def test_settings_keep_their_number_and_runs_their_order(directory: Path) -> None:
    with writing(directory) as journal:
        assert journal.register_settings("a" * 32, {"model": "m"}) == 1
        assert journal.register_settings("b" * 32, {"model": "n", "prompt": {"user": "ä"}}) == 2
        journal.register_run("first")
    with writing(directory) as journal:
        assert journal.register_settings("a" * 32, {"model": "m"}) == 1
        journal.register_run("second")
    with closing(Journal.read(directory)) as journal:
        assert journal.settings() == {1: {"model": "m"}, 2: {"model": "n", "prompt": {"user": "ä"}}}
        assert journal.runs() == ["first", "second"]


def test_every_file_is_for_its_owner_alone(directory: Path) -> None:
    os.umask(os.umask(0o022))
    with JobLock(directory):
        fill_and_die(directory)
        write_progress(directory, {"status": "running"})
        with closing(Journal.read(directory)):
            modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert {"journal.sqlite", "journal.sqlite-wal", "acknowledged", "lock", "progress.json"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_long_log_is_moved_into_the_database(directory: Path) -> None:
    with writing(directory) as journal:
        for number in range(40):
            journal.commit(Changes([event(number, response="x" * 1_000_000)]))
        assert (directory / "journal.sqlite-wal").stat().st_size < 25_000_000
        assert (directory / "journal.sqlite").stat().st_size > 15_000_000


# ---- kills


def test_claims_that_were_open_at_a_kill_come_back_as_what_they_may_have_cost(directory: Path) -> None:
    def work() -> None:
        journal = Journal.write(directory)
        journal.commit(Changes(claims=[claim(1), claim(2), claim(3, worst_cost=None)]))
        journal.commit(Changes([event(1)], release=[1]))
        os.kill(os.getpid(), signal.SIGKILL)

    in_a_child(work)
    with closing(Journal.read(directory)) as journal:
        claims = journal.claims()
        assert claims == [claim(2), claim(3, worst_cost=None)]
    events, numbers, worst = lost_claims(claims)
    assert numbers == [2, 3]
    assert worst == Decimal("0.25")
    assert [(e.state, e.row_id, e.record.attempts, e.record.possibly_billed) for e in events] == [
        (State.ATTEMPTED, "row-2", 3, Decimal("0.25")),
        (State.ATTEMPTED, "row-3", 4, None),
    ]
    assert events[0].record.cost == Decimal("0.5")
    with writing(directory) as journal:
        journal.commit(Changes(events, release=numbers, possibly_billed_usd=worst))
        assert journal.claims() == []
        assert journal.totals.possibly_billed_usd == worst


def test_what_was_committed_before_a_kill_is_there_and_no_more(directory: Path) -> None:
    fill_and_die(directory, groups=5)
    with closing(Journal.read(directory)) as journal:
        assert [entry.row_id for entry in journal.index()] == [f"row-{n}" for n in range(10)]
        assert journal.totals.commits == 5
    with writing(directory) as journal:
        assert journal.commit(Changes([event(10)])) == 11


def states_of(directory: Path, work: Callable[[], None]) -> Iterator[Path]:
    """Do the work in a process of its own, and yield a copy of the directory as a kill before any line of the
    journal's code would leave it; what several lines would leave is yielded once.
    """
    states = directory.with_name("states")
    files = ("journal/store.py", "journal/database.py", "journal/count.py")
    lines, last = 0, dict[str, bytes]()

    def keep() -> None:
        nonlocal last
        found = {path.name: path.read_bytes() for path in directory.iterdir()}
        if found != last or not lines:
            shutil.copytree(directory, states / f"{lines:04}")
            last = found

    def trace(frame: FrameType, kind: str, argument: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.endswith(files):
            return None
        if kind == "line":
            keep()
            lines += 1
        return trace

    def traced() -> None:
        sys.settrace(trace)
        work()
        sys.settrace(None)
        keep()
        assert lines > 30

    assert in_a_child(traced) == 0
    found = sorted(states.iterdir())
    assert len(found) > 5
    yield from found


def test_a_kill_at_any_line_of_create_leaves_nothing_or_a_sound_journal(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    outcomes = []
    for directory in states_of(new, lambda: Journal.create(new, job="job", simulated=False)):
        outcomes.append(Journal.exists(directory))
        if not Journal.exists(directory):
            Journal.create(directory, job="job", simulated=False)
        fill(directory, groups=1)
        with closing(Journal.read(directory)) as journal:
            assert sum(1 for _ in journal.index()) == 2
    assert outcomes[-1] and not outcomes[0]


def test_a_kill_at_any_line_of_a_run_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    Journal.create(good, job="job", simulated=False)
    (good / "told").touch()

    def work() -> None:
        journal = Journal.write(good)
        for number in range(2):
            journal.commit(Changes([event(number)], claims=[claim(number)]))
            (good / "told").write_text(str(number + 1))
        journal.close()

    seen = set()
    for directory in states_of(good, work):
        told = int((directory / "told").read_text() or 0)
        with closing(Journal.read(directory)) as journal:
            events = sum(1 for _ in journal.index())
            assert told <= events <= told + 1
            assert len(journal.claims()) == events
        with writing(directory) as journal:
            assert journal.commit(Changes([event(9)])) == events + 1
        seen.add((told, events))
    assert seen == {(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)}


def test_create_leaves_a_standing_journal_alone(directory: Path) -> None:
    fill(directory)
    before = kept_files(directory)
    with pytest.raises(CheckpointFailed, match="already"):
        Journal.create(directory, job="other", simulated=False)
    assert kept_files(directory) == before


# ---- a disk that fails


@contextmanager
def full_disk(spare: int, path: Path) -> Iterator[None]:
    """Let no file grow further than `spare` bytes beyond what `path` has."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + spare, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("spare", [0, 5_000, 40_000])
def test_after_a_failed_commit_nothing_more_is_taken_and_what_was_acknowledged_stays(
    directory: Path, spare: int
) -> None:
    with writing(directory) as journal:
        journal.commit(Changes([event(0)]))
        with full_disk(spare, directory / "journal.sqlite-wal"), pytest.raises(CheckpointFailed, match="written to"):
            journal.commit(Changes([event(1, response="x" * 100_000)]))
        with pytest.raises(CheckpointFailed, match="failed before"):
            journal.commit(Changes([event(2)]))
        with pytest.raises(CheckpointFailed, match="failed before"):
            journal.register_run("run")
        before = kept_files(directory)
    assert kept_files(directory) == before
    with closing(Journal.read(directory)) as journal:
        assert [entry.row_id for entry in journal.index()] == ["row-0"]


def test_closing_a_claim_that_is_not_open_is_refused(directory: Path) -> None:
    with writing(directory) as journal:
        journal.commit(Changes(claims=[claim(1)]))
        with pytest.raises(CheckpointFailed, match="claims of the journal are missing"):
            journal.commit(Changes([event(1)], release=[1, 2]))
    with closing(Journal.read(directory)) as journal:
        assert [one.number for one in journal.claims()] == [1]
        assert list(journal.index()) == []


def test_a_journal_on_a_disk_that_is_full_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with full_disk(0, tmp_path / "empty"), pytest.raises(CheckpointFailed, match="cannot make"):
        Journal.create(tmp_path, job="job", simulated=False)
    assert not Journal.exists(tmp_path)


# ---- what cannot be trusted


def read_all(directory: Path) -> None:
    with closing(Journal.read(directory)) as journal:
        numbers = [entry.seq for entry in journal.index()]
        list(journal.records(numbers))
        journal.claims()
        journal.settings()
        journal.runs()


def empty(directory: Path) -> None:
    (directory / "journal.sqlite").write_bytes(b"")


def garbage(directory: Path) -> None:
    (directory / "journal.sqlite").write_bytes(b"no database at all\n" * 1000)


def another_database(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "other")) as connection:
        connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY)")
    (directory / "other").rename(directory / "journal.sqlite")


def a_directory(directory: Path) -> None:
    (directory / "journal.sqlite").unlink()
    (directory / "journal.sqlite").mkdir()


def without(*names: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        for name in names:
            (directory / name).unlink()

    return damage


def without_last_event(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "journal.sqlite")) as connection:
        connection.execute("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")
        connection.commit()


def with_swapped_events(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "journal.sqlite")) as connection:
        connection.executescript(
            "UPDATE events SET seq = -seq WHERE seq < 3;UPDATE events SET seq = 3 + seq WHERE seq < 0"
        )


def count_of(text: bytes) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        (directory / "acknowledged").write_bytes(text)

    return damage


@pytest.mark.parametrize("fill_it", [fill, fill_and_die])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (empty, "empty"),
        (garbage, "not a database"),
        (another_database, "not a journal"),
        (a_directory, "cannot be"),
        (without("journal.sqlite"), "missing, though answers were acknowledged"),
        (without("acknowledged"), "acknowledged: missing"),
        (count_of(b""), "holds no count"),
        (count_of(b"7\n"), "holds no count"),
        (count_of(b"%020d %020d\n" % (2, 10**20 - 1)), "holds no count"),
        (count_of(b"%020d %020d\n" % (99, 10**20 - 100)), "99 were acknowledged; part of it is lost"),
        (without_last_event, "6 were recorded"),
        (with_swapped_events, "event 1 of the journal is damaged"),
    ],
)
def test_damage_is_named_and_left_as_it_is(
    directory: Path, fill_it: Callable[[Path], None], damage: Callable[[Path], None], says: str
) -> None:
    fill_it(directory)
    damage(directory)
    expect_refusal(directory, says)


def expect_refusal(directory: Path, says: str) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}

    before = files()
    assert Journal.exists(directory)
    for _ in range(2):
        with pytest.raises(CheckpointFailed, match=says):
            read_all(directory)
    assert {name: content for name, content in files().items() if not name.endswith("-shm")} == before


@pytest.mark.parametrize("names", [["journal.sqlite-wal"], ["journal.sqlite", "acknowledged"]])
def test_a_log_without_its_database_or_the_reverse_is_a_loss(directory: Path, names: list[str]) -> None:
    fill_and_die(directory)
    without(*names)(directory)
    expect_refusal(directory, "part of it is lost|missing")


def test_a_lost_log_that_held_nothing_but_claims_is_a_loss_too(directory: Path) -> None:
    fill(directory)

    def work() -> None:
        Journal.write(directory).commit(Changes(claims=[claim(1)]))
        os._exit(0)

    in_a_child(work)
    without("journal.sqlite-wal")(directory)
    expect_refusal(directory, "part of it is lost")


def test_a_journal_of_a_newer_version_says_so(directory: Path) -> None:
    fill(directory)
    with closing(sqlite3.connect(directory / "journal.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 2")
    expect_refusal(directory, "newer version of the program, in format 2")


@pytest.mark.parametrize("at", [18, 19])
def test_a_header_that_would_have_the_log_overlooked_is_damage(directory: Path, at: int) -> None:
    fill_and_die(directory)
    database = directory / "journal.sqlite"
    content = bytearray(database.read_bytes())
    content[at] = 1
    database.write_bytes(content)
    expect_refusal(directory, "damaged: it was made with a write-ahead log")


CHANGES: list[tuple[str, Callable[[Journal], object]]] = [
    ("UPDATE events SET event = replace(event, 'row-3', 'row-4')", lambda journal: list(journal.index())),
    ("UPDATE events SET event = replace(event, 'attempts', 'attempt5')", lambda journal: list(journal.records([3]))),
    ("UPDATE events SET checksum = checksum + 1 WHERE seq = 3", lambda journal: list(journal.index())),
    ("UPDATE events SET event = 1 WHERE seq = 3", lambda journal: list(journal.records([3]))),
    ("UPDATE claims SET claim = replace(claim, 'row-7', 'row-8')", lambda journal: journal.claims()),
    ("DELETE FROM claims WHERE number = 7", lambda journal: journal.claims()),
    ("UPDATE meta SET value = replace(value, 'm', 'n') WHERE name = 'settings'", lambda journal: journal.settings()),
    ("UPDATE meta SET value = '[]' WHERE name = 'runs'", lambda journal: journal.runs()),
    ("DELETE FROM meta WHERE name = 'runs'", lambda journal: journal.runs()),
]


@pytest.mark.parametrize(("change", "look"), CHANGES, ids=[change for change, _ in CHANGES])
def test_every_way_to_read_checks_what_it_reads(
    directory: Path, change: str, look: Callable[[Journal], object]
) -> None:
    with writing(directory) as journal:
        journal.commit(Changes([event(number) for number in range(5)], claims=[claim(6), claim(7)]))
        journal.register_settings("a" * 32, {"model": "m"})
        journal.register_run("run")
    with closing(Journal.read(directory)) as journal:
        look(journal)
    with closing(sqlite3.connect(directory / "journal.sqlite")) as connection:
        connection.execute(change)
        connection.commit()
    with closing(Journal.read(directory)) as journal, pytest.raises(CheckpointFailed):
        look(journal)


def test_a_tree_that_is_damaged_beside_sound_records_is_not_written_to(directory: Path) -> None:
    with writing(directory) as journal:
        journal.commit(Changes(claims=[claim(number) for number in range(500)]))
        journal.commit(Changes([event(number) for number in range(50)], release=range(500)))
    database = directory / "journal.sqlite"
    content = bytearray(database.read_bytes())
    free_pages = int.from_bytes(content[36:40], "big")
    assert free_pages > 1
    trunk = (int.from_bytes(content[32:36], "big") - 1) * 8192
    content[trunk + 11] = 3  # the first free page is now said to be the third page, which is in use
    database.write_bytes(content)
    read_all(directory)
    before = kept_files(directory)
    with pytest.raises(CheckpointFailed, match="damaged"):
        Journal.write(directory)
    assert kept_files(directory) == before


@pytest.mark.parametrize("fill_it", [fill, fill_and_die])
def test_reading_changes_nothing(directory: Path, fill_it: Callable[[Path], None]) -> None:
    fill_it(directory)
    before = kept_files(directory)
    for _ in range(2):
        read_all(directory)
    assert kept_files(directory) == before
    if fill_it is fill:
        assert {path.name for path in directory.iterdir()} == before.keys(), "not even a file of SQLite's own"


def test_a_cleanly_closed_journal_can_be_read_where_nothing_can_be_written(directory: Path) -> None:
    fill(directory)
    directory.chmod(0o500)
    try:
        read_all(directory)
    finally:
        directory.chmod(0o700)


def test_an_empty_directory_holds_no_journal(tmp_path: Path) -> None:
    assert not Journal.exists(tmp_path)
    with pytest.raises(CheckpointFailed, match="missing"):
        Journal.read(tmp_path)


# ---- the lock


def hold_in_a_child(directory: Path) -> int:
    """A process that holds the lock until it is killed."""
    ready, told = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        lock = JobLock(directory)
        os.write(told, b"!")
        time.sleep(60)
        lock.close()
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(told)
    return child


def test_a_second_run_is_told_which_process_holds_the_lock_until_that_dies(tmp_path: Path) -> None:
    holder = hold_in_a_child(tmp_path)
    try:
        for shared in (False, True):
            named = rf"process {holder} on {os.uname().nodename}, since 2\d\d\d-"
            with pytest.raises(JobLocked, match=f"another run of this job is under way: {named}"):
                JobLock(tmp_path, shared=shared)
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
    with JobLock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_readers_share_the_lock_and_a_run_waits_for_them_a_moment(tmp_path: Path) -> None:
    first, second = JobLock(tmp_path, shared=True), JobLock(tmp_path, shared=True)
    second.close()
    threading.Timer(0.1, first.close).start()
    with JobLock(tmp_path), pytest.raises(JobLocked):
        JobLock(tmp_path, shared=True)


def test_a_run_that_only_readers_hold_up_names_no_process(tmp_path: Path) -> None:
    with JobLock(tmp_path):
        pass
    with JobLock(tmp_path, shared=True), pytest.raises(JobLocked, match="reading its checkpoint"):
        JobLock(tmp_path)


def test_who_waits_for_a_lock_file_that_is_removed_does_not_run_beside_its_successor(tmp_path: Path) -> None:
    directory = tmp_path / "made for nothing"
    directory.mkdir()
    holder = JobLock(directory)

    def clear_up() -> None:
        (directory / "lock").unlink()
        directory.rmdir()
        holder.close()

    threading.Timer(0.1, clear_up).start()
    with JobLock(directory):
        assert (directory / "lock").exists()
        with pytest.raises(JobLocked):
            JobLock(directory)


def test_a_lock_file_that_is_removed_between_opening_and_locking_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_lock = fcntl.flock
    removed: list[bool] = []

    def lock_late(file: int, operation: int) -> None:
        if not removed:
            (tmp_path / "lock").unlink()
            removed.append(True)
        really_lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with JobLock(tmp_path), pytest.raises(JobLocked):
        JobLock(tmp_path)


def test_a_full_disk_does_not_keep_a_run_from_its_lock(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with full_disk(0, tmp_path / "empty"), JobLock(tmp_path), pytest.raises(JobLocked, match="another run"):
        JobLock(tmp_path)


def test_a_lock_that_cannot_be_made_is_a_failed_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(CheckpointFailed, match="cannot open the job's lock"):
        JobLock(tmp_path)


# ---- progress


def test_progress_is_replaced_whole_and_anything_else_is_none(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    write_progress(tmp_path, {"rows": 1})
    with full_disk(0, tmp_path / "progress.json"):
        write_progress(tmp_path, {"rows": 2, "more": "x" * 100})
    assert read_progress(tmp_path) == {"rows": 1}
    for damaged in (b"", b"[1]", b"{", b"\xff"):
        (tmp_path / "progress.json").write_bytes(damaged)
        assert read_progress(tmp_path) is None


def test_totals_of_a_version_that_counted_no_possibly_billed_requests_do_not_know_them() -> None:
    assert Totals.parse('[3,2,0,"0.5","0.1",1,null]').possibly_billed_requests is None
    assert Totals.parse('[1,0,0,"0","0",1,null]').possibly_billed_requests == 0
    known = Totals(commits=3, possibly_billed_requests=7)
    assert Totals.parse(known.text()) == known


# ---- a checkpoint that is taken away while it is written to


def _removed(directory: Path) -> None:
    shutil.rmtree(directory)


def _moved(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))


def _replaced(directory: Path) -> None:
    _moved(directory)
    directory.mkdir()
    Journal.create(directory, job="j", simulated=False)


def _without_its_log(directory: Path) -> None:
    (directory / "journal.sqlite-wal").unlink()


@pytest.mark.parametrize("take_away", [_removed, _moved, _replaced, _without_its_log])
def test_a_journal_takes_nothing_more_once_its_files_have_lost_their_names(
    tmp_path: Path, take_away: Callable[[Path], None]
) -> None:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    Journal.create(directory, job="j", simulated=False)
    journal = Journal.write(directory)
    journal.register_run("first")
    journal.check_place()
    take_away(directory)
    with pytest.raises(CheckpointFailed, match="moved, removed or replaced"):
        journal.check_place()
    with pytest.raises(CheckpointFailed):
        journal.register_run("second")
    journal.close()


def test_an_outcome_of_nothing_is_written_by_the_same_fields_as_any_other() -> None:
    assert encode(Outcome()) == {**encode(Outcome(attempts=1)), "attempts": 0}
    assert decode(encode(Outcome())) == Outcome()


def test_what_is_known_is_written_also_where_it_is_nothing() -> None:
    known = Outcome(attempts=0, truncated=False, prompt_tokens=0, response="", in_doubt=False, cost=Decimal("0.5"))
    assert encode(known) == {
        "attempts": 0,
        "failed_runs": 0,
        "truncated": False,
        "prompt_tokens": 0,
        "response": "",
        "cost_usd": "0.500000000000",
    }


@pytest.mark.parametrize("numbers", [[2, 3, 4], [1, 9], [5]], ids=["near", "far", "one"])
def test_texts_come_together_in_the_order_of_their_numbers(directory: Path, numbers: list[int]) -> None:
    with writing(directory) as journal:
        journal.commit(Changes([event(n, response=f"line\n{n}") for n in range(1, 10)]))
        found = journal.texts_together(numbers, 2**20)
        assert found is not None
        assert found.row_ids.to_pylist() == [f"row-{n}" for n in numbers]
        assert list(found.settings_ids) == [1] * len(numbers)
        assert [json.loads(text)["response"] for text in found.records] == [f"line\n{n}" for n in numbers]
        assert [(head.row_id, text) for head, text in journal.texts(numbers)] == list(
            zip(found.row_ids.to_pylist(), found.records, strict=True)
        )
        assert (journal.texts_together(numbers, 10) is None) == (len(numbers) > 1)
        with pytest.raises(CheckpointFailed, match="event 10 of the journal is missing"):
            journal.texts_together([*numbers, 10], 2**20)


@pytest.mark.parametrize("ids", [["7", "NA", "null", "a,b", "'"], ['q"q', "b\\s", "n\nn", "é", "\x1f"]])
def test_texts_have_the_ids_that_were_recorded(directory: Path, ids: list[str]) -> None:
    with writing(directory) as journal:
        journal.commit(Changes([event(n)._replace(row_id=row_id) for n, row_id in enumerate(ids)]))
        found = journal.texts_together(range(1, len(ids) + 1), 2**20)
        assert found is not None
        assert found.row_ids.to_pylist() == ids
        assert found.request_hashes.to_pylist() == [f"{n:032x}" for n in range(len(ids))]
        assert found.settings_ids.tolist() == [1] * len(ids)


def test_texts_are_made_without_pandas() -> None:
    script = (
        "import sys\n"
        "sys.modules['pandas'] = None\n"
        "from pipeline.journal.texts import texts_of\n"
        """found = texts_of([b'[1,1,2,"a","h",3,"c",0]'], [b'{}'])\n"""
        "assert (found.row_ids.to_pylist(), found.settings_ids.tolist()) == (['a'], [3])\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_text_that_is_damaged_is_not_given(directory: Path) -> None:
    with writing(directory) as journal:
        journal.commit(Changes([event(n, response="right") for n in range(1, 4)]))
    with closing(sqlite3.connect(directory / "journal.sqlite")) as connection, connection:
        connection.execute("UPDATE events SET event = CAST(replace(event, 'right', 'wrong') AS BLOB) WHERE seq = 2")
    with closing(Journal.read(directory)) as journal, pytest.raises(CheckpointFailed, match=r"event 2 .* is damaged"):
        journal.texts_together([1, 2, 3], 2**20)
