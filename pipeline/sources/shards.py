"""The division of an input into shards, by a hash of each row's id: rows that are appended move none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.shard import Shard
from pipeline.sources.chosen import ChosenRows
from pipeline.sources.copies import RowCopies
from pipeline.sources.hashes import text_hashes
from pipeline.sources.identity import content_keys, id_texts

if TYPE_CHECKING:
    from pipeline.sources.source import Source

_HASH_VERSION = b"shard-1"


def shard_numbers(batch: pa.RecordBatch, count: int, id_columns: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the shard of each row, from 1; 0 for a row without an id, which is wrong in every shard.

    Rows of the same id, and without id columns those of the same content, are in one shard.
    """
    ids = id_texts(batch, id_columns) if id_columns else content_keys(batch)
    hashes = text_hashes((row_id or "" for row_id in ids), _HASH_VERSION)
    numbers = (hashes % np.uint64(count)).astype(np.int64) + 1
    if None in ids:
        numbers[[row_id is None for row_id in ids]] = 0
    return numbers


def rows_of(shard: Shard, source: Source, id_columns: tuple[str, ...], work: Path) -> ChosenRows:
    """Return the rows of a source that are a shard's. Copies of them are kept in or above the directory `work`."""

    def is_own(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        return np.isin(shard_numbers(batch, shard.count, id_columns), (shard.number, 0))

    return ChosenRows(source, is_own, RowCopies(work) if source.files else None)
