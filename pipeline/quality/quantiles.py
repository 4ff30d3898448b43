"""Where most of some amounts lie."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

_PERCENTS = (0, 5, 25, 50, 75, 95, 100)


class Quantiles(Struct, frozen=True):
    """The smallest and the largest amount, the mean, and what 5% to 95% of the amounts do not exceed; None of none."""

    min: float | None = None
    p5: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p95: float | None = None
    max: float | None = None
    mean: float | None = None


class Amounts:
    """Collects whole numbers, in 4 bytes each."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.uint32]] = []

    def add(self, amounts: Iterable[int]) -> None:
        """Take in further amounts."""
        self._parts.append(np.fromiter(amounts, np.uint32))

    def add_column(self, column: pa.Array) -> None:
        """Take in the values of a column but for its nulls."""
        self._parts.append(column.drop_null().to_numpy().astype(np.uint32))

    def quantiles(self) -> Quantiles:
        """Return where the amounts lie."""
        amounts = np.concatenate(self._parts) if self._parts else np.array([], np.uint32)
        if not len(amounts):
            return Quantiles()
        found = [*np.percentile(amounts, _PERCENTS).tolist(), float(amounts.mean())]
        return Quantiles(*(round(value, 1) for value in found))
