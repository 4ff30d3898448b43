"""A file is complete at its place or not there, and on disk before its name is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pipeline.storage import LOCAL, Version, draft_path, replacing


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed, in order."""
    found: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(file: int) -> None:
        found.append(f"sync {Path(os.readlink(f'/proc/self/fd/{file}')).name}")
        fsync(file)

    def renamed(path: Path, target: Path) -> Path:
        found.append(f"rename {path.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    return found


def test_content_is_on_disk_before_the_name_and_the_name_before_the_end(tmp_path: Path, steps: list[str]) -> None:
    with replacing(tmp_path / "file") as draft:
        draft.write_text("new")
        assert steps == []
    assert steps[:3] == ["sync file.new", "rename file.new", f"sync {tmp_path.name}"]
    assert (tmp_path / "file").read_text() == "new"


def test_what_can_be_made_again_is_renamed_without_a_sync(tmp_path: Path, steps: list[str]) -> None:
    with replacing(tmp_path / "file", durable=False) as draft:
        draft.write_text("new")
    assert steps == ["rename file.new"]


@pytest.mark.parametrize("step", ["block", "before", "fsync", "rename"])
def test_a_step_that_fails_leaves_what_stood_there_and_nothing_else(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("fails")

    if step in ("fsync", "rename"):
        monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with (
        pytest.raises(OSError, match="fails"),
        replacing(path, before=fail if step == "before" else None) as draft,
    ):
        draft.write_text("new")
        if step == "block":
            fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_last_look_sees_the_complete_file_before_it_is_in_place(tmp_path: Path) -> None:
    seen = []

    def look(draft: Path) -> None:
        seen.append((draft.read_text(), (tmp_path / "file").exists()))

    with LOCAL.publish(tmp_path / "file", "me", look) as draft:
        draft.write_text("whole")
    assert seen == [("whole", False)]


def test_a_remnant_of_a_kill_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "file.new").write_text("a longer text of before")
    with replacing(tmp_path / "file", private=True) as draft:
        draft.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for name, private in (("mine", True), ("all", False)):
            with replacing(tmp_path / name, private=private):
                pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("mine", "all")] == [0o600, 0o644]


def test_publishing_makes_the_directory_and_each_owner_has_a_draft_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out"
    with LOCAL.publish(path, "a") as one, LOCAL.publish(path, "b") as other:
        assert one != other
        one.write_text("a")
        other.write_text("b")
    assert path.read_text() == "a"
    with LOCAL.open(path) as file:
        assert file.read() == b"a"


def test_a_version_changes_with_each_writing_and_is_none_where_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert LOCAL.version(path) is None
    path.write_text("ab")
    first = LOCAL.version(path)
    assert first == Version(2, path.stat().st_mtime_ns)
    os.utime(path, ns=(0, 7))
    assert LOCAL.version(path) == Version(2, 7)


def test_what_is_written_beside_a_directory_is_in_it_only_when_it_is_complete(tmp_path: Path) -> None:
    place = tmp_path / "out" / "part"
    assert LOCAL.names(place.parent) == []
    with LOCAL.publish(place, "me", beside=True) as draft:
        draft.write_text("new")
        assert LOCAL.names(place.parent) == []
    assert LOCAL.names(place.parent) == ["part"]
    assert os.listdir(tmp_path) == ["out"]


def test_only_what_the_owner_has_left_for_the_path_is_discarded(tmp_path: Path) -> None:
    directory = tmp_path / "out"
    mine = [draft_path(directory, "me"), *(draft_path(directory / f"part-{n}", "me", beside=True) for n in range(3))]
    others = [
        draft_path(directory, "you"),
        draft_path(directory / "part-0", "you", beside=True),
        draft_path(tmp_path / "out.html", "me"),
        draft_path(tmp_path / "out2" / "part-0", "me", beside=True),
    ]
    for path in (*mine, *others):
        path.write_text("")
    LOCAL.discard(directory, "me")
    assert sorted(tmp_path.iterdir()) == sorted(others)
