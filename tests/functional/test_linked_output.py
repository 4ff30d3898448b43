"""An output whose path is a symbolic link: the file that it leads to is written, and the link stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import Endpoint, Workspace


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory elsewhere, on a file system of its own where there is one in memory."""
    place = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(dir=place if os.access(place, os.W_OK) else tmp_path))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def linked(ws: Workspace, disk: Path) -> Workspace:
    """A job with two rows whose output leads to the other disk, where nothing is yet."""
    ws.questions("a", "b")
    ws.job()
    (ws.path / "out.parquet").symlink_to(disk / "answers.parquet")
    return ws


def rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def test_the_file_that_the_link_leads_to_is_written_and_replaced(linked: Workspace, disk: Path) -> None:
    assert linked.command("validate")["valid"]
    assert linked.run()["output"] == "out.parquet"
    assert (linked.path / "out.parquet").is_symlink()
    assert rows(disk / "answers.parquet") == 2
    linked.questions("a", "b", "c")
    linked.run()
    assert (linked.path / "out.parquet").is_symlink()
    assert rows(disk / "answers.parquet") == 3
    assert os.listdir(disk) == ["answers.parquet"]
    assert not [name for name in os.listdir(linked.path) if name.endswith(".writing")]
    assert linked.command("status")["output"] == "out.parquet"
    assert linked.command("clean", "--yes")["removed"]


def test_links_are_followed_to_their_end_and_directories_are_made(linked: Workspace, disk: Path) -> None:
    (linked.path / "out.parquet").unlink()
    (linked.path / "out.parquet").symlink_to("next.parquet")
    (linked.path / "next.parquet").symlink_to(disk / "new/answers.parquet")
    linked.run()
    assert rows(disk / "new/answers.parquet") == 2
    assert (linked.path / "next.parquet").is_symlink()


def test_the_partial_output_is_beside_the_link_and_goes_or_is_one_itself(linked: Workspace, disk: Path) -> None:
    partial = linked.path / "out.partial.parquet"
    assert linked.run("--limit", "1")["output"] == "out.partial.parquet"
    assert partial.is_file() and not os.listdir(disk)
    partial.unlink()
    partial.symlink_to(disk / "some.parquet")
    linked.questions("a", "b", "c")
    linked.run("--limit", "1")
    assert rows(disk / "some.parquet") == 2
    linked.run()
    assert os.listdir(disk) == ["answers.parquet"]
    assert not os.path.lexists(partial)


def test_a_foreign_file_behind_the_link_is_kept(linked: Workspace, disk: Path, endpoint: Endpoint) -> None:
    (disk / "answers.parquet").write_bytes(b"mine")
    assert "output.overwrite" in linked.pipeline("run", "job.yaml").err
    assert (disk / "answers.parquet").read_bytes() == b"mine"
    assert not endpoint.asked
    linked.run("--set", "output.overwrite=true")
    assert rows(disk / "answers.parquet") == 2


def test_links_in_a_circle_and_places_that_cannot_be_written_are_refused(
    linked: Workspace, disk: Path, endpoint: Endpoint
) -> None:
    out = linked.path / "out.parquet"
    out.unlink()
    out.symlink_to("back.parquet")
    (linked.path / "back.parquet").symlink_to("out.parquet")
    for flags in ([], ["--set", "output.overwrite=true"]):
        for command in ("validate", "run"):
            refused = linked.pipeline(command, "job.yaml", *flags)
            assert refused.code == 2
            assert "output.path" in refused.err and "symbolic links" in refused.err
    assert linked.pipeline("doctor", "job.yaml").code == 0
    (disk / "file").touch()
    out.unlink()
    out.symlink_to(disk / "file" / "answers.parquet")
    refused = linked.pipeline("run", "job.yaml")
    assert (refused.code, "Not a directory" in refused.err) == (2, True), refused.err
    out.unlink()
    out.symlink_to(linked.input)
    refused = linked.pipeline("run", "job.yaml", "--set", "output.overwrite=true")
    assert (refused.code, "it is the input" in refused.err) == (2, True)
    assert not endpoint.asked


def test_an_export_over_a_link_is_told_to_and_follows_it(linked: Workspace, disk: Path) -> None:
    linked.run()
    (disk / "old.csv").write_text("mine")
    (linked.path / "export.csv").symlink_to(disk / "old.csv")
    refused = linked.pipeline("export", "job.yaml", "--to", "csv", "export.csv")
    assert (refused.code, "is a symbolic link" in refused.err) == (2, True)
    assert linked.pipeline("export", "job.yaml", "--to", "csv", "export.csv", "--overwrite").code == 0
    assert (disk / "old.csv").read_text().startswith("question,row_id")
    assert (linked.path / "export.csv").is_symlink()


def test_gathered_rows_go_where_the_link_leads(linked: Workspace, disk: Path) -> None:
    for shard in ("1/2", "2/2"):
        linked.run("--shard", shard)
    linked.command("gather", "--shards", "2")
    assert rows(disk / "answers.parquet") == 2
    assert linked.command("status")["output"] == "out.parquet"
