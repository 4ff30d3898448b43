"""What is held in memory while an output is written, and what the output says of itself."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sink import JournalState, OutputMetadata, read_metadata
from pipeline.sink.metadata import METADATA_KEY
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
    rows, _ = write_rows(found, found.batches(), tmp_path / "draft", "zstd", OutputMetadata("job", "c", JournalState()))
    assert rows == sum(sizes) == pq.read_metadata(tmp_path / "draft").num_rows
    assert found.most_alive <= bound


def write_with(path: Path, metadata: bytes) -> Path:
    schema = SCHEMA.with_metadata({METADATA_KEY: metadata})
    pq.write_table(schema.empty_table(), path)
    return path


def test_what_an_output_says_of_itself_is_read_back(tmp_path: Path) -> None:
    journal = JournalState(False, 7, 12, Decimal("0.000000000001"), Decimal("1.5"), 3)
    written = OutputMetadata("job", "c0ffee", journal, run_ids=("one", "two"), state="s")
    assert read_metadata(write_with(tmp_path / "out.parquet", written.encode())) == written


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"simulated": 1, "commits": -1, "events": 2.0}, JournalState()),
        ({"simulated": True, "commits": 2**63, "cost_usd": "1e400", "possibly_billed_usd": 5}, JournalState(True)),
        (
            {"commits": 4, "events": 9, "cost_usd": "0.25", "possibly_billed_requests": None},
            JournalState(None, 4, 9, Decimal("0.25")),
        ),
        ("a journal", JournalState()),
    ],
)
def test_what_an_output_says_of_its_journal_counts_only_where_it_is_valid(
    tmp_path: Path, facts: Any, expected: JournalState
) -> None:
    text = json.dumps({"job": 5, "checkpoint_id": None, "journal": facts, "run_ids": ["one", 2]})
    found = read_metadata(write_with(tmp_path / "out.parquet", text.encode()))
    assert found == OutputMetadata(None, None, expected)


@pytest.mark.parametrize("metadata", [b"[]", b"{", b'"text"', b"\xff"])
def test_metadata_that_is_no_object_is_not_ours(tmp_path: Path, metadata: bytes) -> None:
    assert read_metadata(write_with(tmp_path / "out.parquet", metadata)) is None
