"""What the answers of each variant of a sweep are like."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field

from pipeline.plan import Rows
from pipeline.quality.costs import KnownSum
from pipeline.quality.distinct import DistinctCount
from pipeline.sink import Joined
from pipeline.sources import pick


class VariantFigures(Struct, frozen=True):
    """The rows of one variant with an outcome; tokens and cost (USD) as far as they are known, None if nothing is known
    of them.
    """

    rows: int
    failed: int
    cost_usd: Decimal | None
    prompt_tokens: int | None
    completion_tokens: int | None
    truncated: int
    distinct_answers: int


class _Sums(Struct):
    rows: int = 0
    failed: int = 0
    cost: KnownSum = field(default_factory=KnownSum)
    prompt_tokens: KnownSum = field(default_factory=KnownSum)
    completion_tokens: KnownSum = field(default_factory=KnownSum)
    truncated: int = 0
    answers: DistinctCount = field(default_factory=DistinctCount)


class ByVariant:
    """Adds up the rows of each variant, named as the output names them; `prefix` is that of the output's columns."""

    def __init__(self, rows: Rows, prefix: str) -> None:
        self._rows = rows
        self._prefix = prefix
        self._sums = [_Sums() for _ in rows.variants] if rows.has_variants else []

    def add(self, joined: Joined) -> None:
        """Take in further rows."""
        if not self._sums:
            return
        numbers = joined.positions % self._rows.cells // (self._rows.samples or 1)
        for number in np.unique(numbers).tolist():
            self._add(self._sums[number], pick(joined.rows, np.flatnonzero(numbers == number)))

    def _add(self, sums: _Sums, rows: pa.RecordBatch) -> None:
        succeeded = pc.equal(self._own(rows, "status"), "succeeded")
        answered = rows.filter(succeeded)
        sums.rows += rows.num_rows
        sums.failed += rows.num_rows - answered.num_rows
        sums.cost.add(self._own(rows, "cost_usd"), answered.num_rows)
        sums.prompt_tokens.add(self._own(answered, "prompt_tokens"), answered.num_rows)
        sums.completion_tokens.add(self._own(answered, "completion_tokens"), answered.num_rows)
        sums.truncated += pc.sum(self._own(answered, "truncated")).as_py() or 0
        sums.answers.add(self._own(answered, "response"))

    def _own(self, rows: pa.RecordBatch, name: str) -> pa.Array:
        return rows.column(self._prefix + name)

    def figures(self) -> dict[str, VariantFigures] | None:
        """Return the figures by the variants' names, in their order; None without a sweep."""
        if not self._sums:
            return None
        return {
            variant.name: VariantFigures(
                sums.rows,
                sums.failed,
                sums.cost.total,
                _whole(sums.prompt_tokens),
                _whole(sums.completion_tokens),
                sums.truncated,
                sums.answers.distinct,
            )
            for variant, sums in zip(self._rows.variants, self._sums, strict=True)
        }


def _whole(found: KnownSum) -> int | None:
    return None if found.total is None else int(found.total)
