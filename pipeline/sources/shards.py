"""The division of an input into shards, by a hash of each row's id: rows that are appended move none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.shard import Shard
from pipeline.sources.hashes import text_hashes
from pipeline.sources.identity import content_keys, id_texts

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


def rows_of(shard: Shard, id_columns: tuple[str, ...]) -> Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]:
    """Return what tells of each row of a batch whether it is one of the shard's."""
    return lambda batch: np.isin(shard_numbers(batch, shard.count, id_columns), (shard.number, 0))
