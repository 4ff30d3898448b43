"""Digests of the rows of an input, block by block, by which the next plan knows again what it has seen.

A block ends behind a row whose key says so, about every four thousand rows. So rows that are added, removed or moved
change the blocks that they are in and no others, however the files are divided. The digest of a block is that of all
its values, independent of the batches that they come in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from pipeline.plan.keys import Keys
from pipeline.sources.canonical import encoded
from pipeline.sources.json_columns import is_json

DIGEST_BYTES = 16
_VERSION = b"row-block-1"
_BITS = 12
_MAX_ROWS = 2**14
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # spreads keys that are close together (Knuth's multiplicative hashing)


class Blocks(Struct, frozen=True):
    """The blocks of an input in order: their digests, and how many rows each one has."""

    digests: tuple[bytes, ...] = ()
    rows: tuple[int, ...] = ()

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The number of the first row of each block, and that of all rows at the end."""
        return np.cumsum((0, *self.rows), dtype=np.int64)

    def digest(self, facts: Sequence[str]) -> str:
        """Return a digest of the rows in their order and of some facts, as 32 hexadecimal digits."""
        whole = hashlib.blake2b(repr(list(facts)).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES)
        whole.update(b"".join(self.digests))
        return whole.hexdigest()


class BlockReader:
    """Divides rows into blocks as they are read.

    With `by_content` the keys are content keys, which stand for the values. `before` are the blocks of the rows that
    are known already.
    """

    def __init__(self, *, by_content: bool, before: Blocks | None = None) -> None:
        self._by_content = by_content
        self._digests = [*(before.digests if before else ())]
        self._rows = [*(before.rows if before else ())]
        self._block: _Block | None = None

    def add(self, batch: pa.RecordBatch, keys: Keys) -> None:
        """Add further rows and their keys."""
        ends = np.flatnonzero((keys[:, 0] * _GOLDEN) >> np.uint64(64 - _BITS) == 0) + 1
        first = 0
        while first < batch.num_rows:
            block = self._block = self._block or _Block(batch.schema)
            at = np.searchsorted(ends, first, "right")
            stop = min(int(ends[at]) if at < len(ends) else batch.num_rows, first + _MAX_ROWS - block.rows)
            if self._by_content:
                block.add_keys(keys[first:stop])
            else:
                block.add(batch.slice(first, stop - first))
            if block.rows == _MAX_ROWS or (at < len(ends) and stop == ends[at]):
                self._end(block)
            first = stop

    def finish(self) -> Blocks:
        """Return all blocks, the last one of which may be unfinished."""
        if self._block is not None:
            self._end(self._block)
        return Blocks(tuple(self._digests), tuple(self._rows))

    def _end(self, block: _Block) -> None:
        self._digests.append(block.digest())
        self._rows.append(block.rows)
        self._block = None


def columns_text(schema: pa.Schema) -> str:
    """Return what counts of the columns in which rows are read, beside the values."""
    return repr([(field.name, str(field.type), is_json(field)) for field in schema])


class _Block:
    """The digest of the rows of one block, as they come."""

    def __init__(self, schema: pa.Schema) -> None:
        columns = columns_text(schema).encode()
        self._whole = hashlib.blake2b(columns, digest_size=DIGEST_BYTES, person=_VERSION)
        self._columns = [_Column() for _ in schema]
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        for column, array in zip(self._columns, batch.columns, strict=True):
            column.add(array)
        self.rows += batch.num_rows

    def add_keys(self, keys: Keys) -> None:
        self._whole.update(np.ascontiguousarray(keys).data)
        self.rows += len(keys)

    def digest(self) -> bytes:
        for column in self._columns:
            self._whole.update(column.digest())
        return self._whole.digest()


class _Column:
    """The digest of a column: which values are null, how long they are, and their bytes."""

    def __init__(self) -> None:
        self._nulls, self._lengths, self._bytes = (hashlib.blake2b(digest_size=DIGEST_BYTES) for _ in range(3))

    def add(self, array: pa.Array) -> None:
        """Add values. What stands in the place of a null may count, too: equal columns may look different, never
        different ones equal.
        """
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        kind, count = array.type, len(array)
        if offset_type := _offset_type(kind):
            _, offsets, data = array.buffers()
            places = np.frombuffer(offsets, offset_type, count + 1, array.offset * np.dtype(offset_type).itemsize)
            self._lengths.update(np.diff(places).astype(np.int64).data)
            if data is not None:
                self._bytes.update(memoryview(data)[places[0] : places[-1]])
        elif pa.types.is_primitive(kind) and not pa.types.is_boolean(kind):
            width = kind.bit_width // 8
            self._bytes.update(memoryview(array.buffers()[1])[array.offset * width : (array.offset + count) * width])
        else:
            self._bytes.update(b"".join(encoded(array)))
            return
        is_valid = memoryview(array.is_valid().cast(pa.uint8()).buffers()[1])[:count] if array.null_count else None
        self._nulls.update(b"\1" * count if is_valid is None else is_valid)

    def digest(self) -> bytes:
        return self._nulls.digest() + self._lengths.digest() + self._bytes.digest()


def _offset_type(kind: pa.DataType) -> type[np.int32 | np.int64] | None:
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return np.int32
    return np.int64 if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) else None
