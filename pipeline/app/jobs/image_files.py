"""The image files that rows name, which are a part of the input without being in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline.prompts import paths_of
from pipeline.sources import Source
from pipeline.sources.identity import row_values


def image_facts(source: Source, columns: Sequence[str]) -> str:
    """Return hexadecimal digits that change when an image file of these columns is written, replaced, made or removed.

    The files are looked at, not read.
    """
    found = hashlib.blake2b(digest_size=16)
    for path in _paths(source, columns):
        found.update(repr((path, _facts(path))).encode())
    return found.hexdigest()


def newer_images(source: Source, columns: Sequence[str], than: int) -> int:
    """Return how many image files of these columns were written or replaced after a time, in nanoseconds."""
    return len({path for path in _paths(source, columns) if (facts := _facts(path)) is not None and facts[-1] > than})


def _paths(source: Source, columns: Sequence[str]) -> Iterator[str]:
    may_name_files = [name for name in columns if not _holds_bytes(source.schema.field(name).type)]
    for batch in source.batches() if may_name_files else ():
        for row in row_values(batch.select(may_name_files)):
            yield from paths_of(row, may_name_files)


def _holds_bytes(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _facts(path: str) -> tuple[int, ...] | None:
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
