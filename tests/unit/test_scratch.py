"""Scratch directories: where they are, and what becomes of those that a killed command left behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pipeline.app.jobs.scratch import remove_leftovers, scratch
from pipeline.errors import CheckpointFailed
from pipeline.journal.files import SCRATCH_PREFIX, foreign_names
from tests.support.processes import Warm


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def killed(warm: Warm, checkpoint: Path, place: Path) -> Path:
    """Let a process be killed while it works in a scratch directory, and give that."""
    program = place.parent / "program.py"
    program.write_text(
        "import os, pathlib, sys, tempfile\nfrom pipeline.app.jobs.scratch import scratch\n"
        f"tempfile.tempdir = {str(place)!r}\n"
        f"with scratch(pathlib.Path({str(checkpoint)!r})) as path:\n"
        "    (path / 'journal.sqlite').write_text('paid')\n    print(path, flush=True)\n    os.kill(os.getpid(), 9)"
    )
    script = ("tests.support.warm:run_script", [str(program)])
    done = warm.run(directory=place.parent, environment=os.environ, before=[script])
    assert done.code == -9, done.err
    return Path(done.out.strip())


def test_a_scratch_directory_is_private_and_gone_afterwards(tmp_path: Path, temporary: Path) -> None:
    with scratch(tmp_path / "cp") as path:
        assert path.parent == temporary
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "file").touch()
    assert list(temporary.iterdir()) == []


def test_without_a_temporary_directory_it_is_beside_the_checkpoint(tmp_path: Path, temporary: Path) -> None:
    temporary.rmdir()
    with scratch(tmp_path / "checkpoints/job") as path:
        assert path.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_where_only_the_checkpoint_can_be_written_to_it_is_in_there_and_the_checkpoints_own(temporary: Path) -> None:
    temporary.rmdir()
    volume = Path(tempfile.mkdtemp(dir="/dev/shm"))
    mounts = Path("/proc")  # nobody can write there, not even root
    checkpoint = volume / "cp"
    checkpoint.mkdir()
    link = mounts / "self/fd" / str(descriptor := os.open(checkpoint, os.O_RDONLY))
    try:
        with scratch(link) as path:
            assert path.parent == link
            assert foreign_names(checkpoint) == []
    finally:
        os.close(descriptor)
        checkpoint.rmdir()
        volume.rmdir()


def test_where_none_can_be_made_the_places_and_TMPDIR_are_named(temporary: Path) -> None:
    temporary.rmdir()
    with (
        pytest.raises(CheckpointFailed, match=r"in .*temporary or /proc \(TMPDIR names another place\)"),
        scratch(Path("/proc/cp")),
    ):
        pass


@pytest.mark.parametrize("has_temporary", [True, False])
def test_what_a_killed_command_left_is_removed_by_the_next(
    warm: Warm, tmp_path: Path, temporary: Path, has_temporary: bool
) -> None:
    if not has_temporary:
        temporary.rmdir()
    left = killed(warm, tmp_path / "cp", temporary)
    assert left.parent == (temporary if has_temporary else tmp_path)
    assert left.name.startswith(SCRATCH_PREFIX)
    with scratch(tmp_path / "cp"):
        assert not left.exists()


def test_what_another_command_works_in_is_left_alone(tmp_path: Path, temporary: Path) -> None:
    with scratch(tmp_path / "cp") as path:
        remove_leftovers(tmp_path / "cp")
        assert path.exists()


def test_a_link_with_such_a_name_is_not_followed(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "theirs").mkdir()
    link = temporary / f"{SCRATCH_PREFIX}x"
    link.symlink_to(tmp_path / "theirs")
    remove_leftovers(tmp_path / "cp")
    assert (tmp_path / "theirs").exists()
    assert link.is_symlink()
