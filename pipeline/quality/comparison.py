"""How the answers of two jobs differ, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from itertools import repeat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipeline.quality.costs import KnownSum
from pipeline.quality.distinct import hashes
from pipeline.sink import AnyResults

FAILED = b""
"""Stands for the answer of a row that failed."""


class Pair(Struct, frozen=True):
    """A figure of both jobs; None where it is unknown."""

    a: Decimal | None
    b: Decimal | None

    @property
    def difference(self) -> Decimal | None:
        """Return how much more it is in the second."""
        return None if self.a is None or self.b is None else self.b - self.a


class Comparison(Struct, frozen=True):
    """The rows of two jobs by their ids, where both were answered: `same` or `changed`.

    `only_a` and `only_b` count rows that the other job does not have, `failed_a` and `failed_b` those that failed
    there. `agreement` is the share of rows answered by both that agree, by field of `parsed`, or in the response.
    """

    same: int
    changed: int
    only_a: int
    only_b: int
    failed_a: int
    failed_b: int
    agreement: dict[str, float | None]
    cost_usd: Pair
    tokens: Pair


def compare(a: AnyResults, b: AnyResults) -> Comparison:
    """Compare two jobs, in about 200 bytes a row of the first.

    Raises:
        InvalidInput: an input changed.
        CheckpointFailed: a journal is damaged.
    """
    fields = _fields(a, b)
    first, second = _Side(a, fields), _Side(b, fields)
    known = dict(first.rows())
    same = changed = only_b = 0
    agreeing = np.zeros(len(fields), np.int64)
    for key, answer in second.rows():
        other = known.pop(key, None)
        if other is None:
            only_b += 1
        elif FAILED not in (other, answer):
            equal = np.frombuffer(other, np.uint64) == np.frombuffer(answer, np.uint64)
            agreeing += equal
            same += bool(equal.all())
            changed += not equal.all()
    answered = same + changed
    agreement = {
        name: round(count / answered, 6) if answered else None
        for name, count in zip(fields, agreeing.tolist(), strict=True)
    }
    return Comparison(
        same,
        changed,
        len(known),
        only_b,
        first.failed,
        second.failed,
        agreement,
        Pair(first.cost.total, second.cost.total),
        Pair(first.tokens.total, second.tokens.total),
    )


def _fields(a: AnyResults, b: AnyResults) -> list[str]:
    """Return what answers are compared by: the fields of `parsed` that both have, or else the response."""
    kinds = [kind for results in (a, b) if (kind := _parsed_type(results)) is not None]
    if len(kinds) < 2:
        return ["response"]
    if not all(pa.types.is_struct(kind) for kind in kinds):
        return ["parsed"]
    names = [{kind.field(index).name for index in range(kind.num_fields)} for kind in kinds]
    return sorted(names[0] & names[1]) or ["response"]


def _parsed_type(results: AnyResults) -> pa.DataType | None:
    # An input column may have the name where the job expects nothing of its answers.
    return None if results.rows.expected is None else results.schema.field(results.prefix + "parsed").type


class _Side:
    """One of the jobs: its rows, and sums over them once they are read."""

    def __init__(self, results: AnyResults, fields: Sequence[str]) -> None:
        self._results = results
        self._fields = fields
        self.failed = 0
        self.cost = KnownSum()
        self.tokens = KnownSum()

    def rows(self) -> list[tuple[bytes, bytes]]:
        """Return a key for each row with an outcome, and hashes of what was answered."""
        found: list[tuple[bytes, bytes]] = []
        for batch in self._results.batches():
            succeeded = pc.equal(self._own(batch, "status"), "succeeded").to_pylist()
            self.failed += succeeded.count(False)
            self.cost.add(self._own(batch, "cost_usd"), succeeded.count(True))
            for name in ("prompt_tokens", "completion_tokens"):
                self.tokens.add(self._own(batch, name), succeeded.count(True))
            values = np.stack([self._hashes(batch, name) for name in self._fields], axis=1)
            answers = (row.tobytes() if is_answer else FAILED for row, is_answer in zip(values, succeeded, strict=True))
            found += zip(self._keys(batch), answers, strict=True)
        return found

    def _own(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        return batch.column(self._results.prefix + name)

    def _hashes(self, batch: pa.RecordBatch, name: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        if name in ("response", "parsed"):
            return hashes(self._own(batch, name))
        return hashes(pc.struct_field(self._own(batch, "parsed"), name))

    def _keys(self, batch: pa.RecordBatch) -> list[bytes]:
        """Return a key for each row. One of a job without samples is the first sample."""
        own = {field.name for field in self._results.fields}
        columns = [
            self._own(batch, name).to_pylist() if name in own else repeat(usual)
            for name, usual in (("row_id", ""), ("variant", ""), ("sample_index", 0))
        ]
        rows = zip(*columns, strict=False)
        return [hashlib.blake2b(repr(row).encode("utf-8", "replace"), digest_size=16).digest() for row in rows]
