"""The image files that rows name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.app.jobs.image_files import newer_images
from pipeline.sources import TableSource


@pytest.mark.parametrize(
    ("kind", "reads"),
    [
        (pa.binary(), False),
        (pa.large_binary(), False),
        (pa.list_(pa.binary()), False),
        (pa.list_(pa.list_(pa.large_binary())), False),
        (pa.string(), True),
        (pa.list_(pa.string()), True),
        (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), True),
    ],
)
def test_an_input_is_read_only_where_a_column_may_name_a_file(
    kind: pa.DataType, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = TableSource(pa.table({"photo": pa.array([None], kind)}))
    read: list[None] = []
    batches = source.batches

    def noted(*words: Any) -> Any:
        read.append(None)
        return batches(*words)

    monkeypatch.setattr(source, "batches", noted)
    assert newer_images(source, ["photo"], 0) == 0
    assert bool(read) is reads


def test_a_file_is_newer_than_what_came_before_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    names = pa.array([[str(tmp_path / "a.png"), str(tmp_path / "gone.png")]], pa.list_(pa.string()))
    changed = (tmp_path / "a.png").stat().st_ctime_ns
    assert newer_images(TableSource(pa.table({"photo": names})), ["photo"], changed - 1) == 1
    assert newer_images(TableSource(pa.table({"photo": names})), ["photo"], changed) == 0
