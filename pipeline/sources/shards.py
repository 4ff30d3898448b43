"""The division of an input into shards, by a hash of each row's id: rows that are appended move none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pyarrow as pa

from pipeline.config.shard import Shard
from pipeline.sources.identity import content_keys, id_texts

_HASH_VERSION = b"shard-1"


def shard_numbers(batch: pa.RecordBatch, count: int, id_columns: tuple[str, ...]) -> list[int]:
    """Return the shard of each row, from 1; 0 for a row without an id, which is wrong in every shard.

    Rows of the same id, and without id columns those of the same content, are in one shard.
    """
    ids = id_texts(batch, id_columns) if id_columns else content_keys(batch)
    return [0 if row_id is None else _number(row_id, count) for row_id in ids]


def rows_of(shard: Shard, id_columns: tuple[str, ...]) -> Callable[[pa.RecordBatch], Iterator[bool]]:
    """Return what tells of each row of a batch whether it is one of the shard's."""

    def judge(batch: pa.RecordBatch) -> Iterator[bool]:
        return (number in (shard.number, 0) for number in shard_numbers(batch, shard.count, id_columns))

    return judge


def _number(row_id: str, count: int) -> int:
    hashed = hashlib.blake2b(row_id.encode("utf-8", "surrogatepass"), digest_size=8, person=_HASH_VERSION)
    return int.from_bytes(hashed.digest()) % count + 1
