"""What is held in memory while an output is written."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sink.parquet import write_rows

SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("cost_usd", pa.decimal128(18, 12))])


@dataclass
class Batches:
    """Batches of so many rows each, and the most of them that were alive at a time."""

    sizes: list[int]
    prefix: str = ""
    schema: pa.Schema = SCHEMA
    most_alive: int = 0
    alive: int = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        for size in self.sizes:
            columns = [pa.array(["x"] * size, pa.string()), pa.nulls(size, pa.decimal128(18, 12))]
            batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
            self.alive += 1
            weakref.finalize(batch, self._ended)
            self.most_alive = max(self.most_alive, self.alive)
            yield batch
            del batch

    def _ended(self) -> None:
        self.alive -= 1


@pytest.mark.parametrize(("sizes", "bound"), [([0] * 3000, 3), ([1] * 3000, 300), ([0, 1] * 2000, 300)])
def test_what_is_held_does_not_grow_with_the_batches_that_hold_nothing_or_little(
    tmp_path: Path, sizes: list[int], bound: int
) -> None:
    found: Any = Batches(sizes)
    rows, _ = write_rows(found, tmp_path / "draft", "zstd", {}, None)
    assert rows == sum(sizes) == pq.read_metadata(tmp_path / "draft").num_rows
    assert found.most_alive <= bound
