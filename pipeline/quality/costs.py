"""What answers cost together, or how long they are, where something is known of it."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct


class KnownSum(Struct):
    """Adds up a figure of rows, such as costs in USD."""

    _known: Decimal | None = None
    _answers: int = 0

    def add(self, values: pa.Array, answers: int) -> None:
        """Take in the figures of further rows, so many of which have an answer."""
        found = pc.sum(values).as_py()
        self._answers += answers
        if found is not None:
            self._known = (self._known or Decimal(0)) + found

    @property
    def total(self) -> Decimal | None:
        """Return the sum of what is known; None if there are answers, and none of their figures is known."""
        return Decimal(0) if self._known is None and not self._answers else self._known
