from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.app.jobs import disk

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /mnt/far rw master:3 shared:5 - nfs4 server:/export rw,vers=4.2
31 30 0:27 / /mnt/far/near rw - tmpfs tmpfs rw
32 22 0:28 / /mnt/with\\040blank rw - fuse.sshfs me@host: rw
33 22 0:29 / /mnt/hidden rw - ext4 /dev/sdb1 rw
34 33 0:30 / /mnt/hidden rw - cifs //server/share rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "ext4"),
        ("/mnt/far", "nfs4"),
        ("/mnt/far/job", "nfs4"),
        ("/mnt/farther", "ext4"),
        ("/mnt/far/near/job", "tmpfs"),
        ("/mnt/with blank/job", "fuse.sshfs"),
        ("/mnt/hidden/job", "cifs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount_above(path: str, kind: str) -> None:
    assert disk.file_system(Path(path), MOUNTS) == kind


def test_without_mounts_nothing_is_known() -> None:
    assert disk.file_system(Path("/home"), "") is None


@pytest.mark.parametrize(("kind", "is_told"), [("nfs", True), ("fuse.sshfs", True), ("9p", True), ("xfs", False)])
def test_a_checkpoint_on_a_network_file_system_is_told(
    kind: str, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"30 22 0:26 / / rw shared:5 - {kind} server:/export rw\n")
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    found = list(disk.checkpoint_warnings(tmp_path / "not" / "made" / "yet"))
    assert [kind in warning for warning in found] == [True] * is_told
