"""What the variants of a sweep have come to, each by itself."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from decimal import Decimal

import numpy as np
from msgspec import Struct, field

from pipeline.journal import ADOPTIONS, ANSWERS, EventHead, Outcome
from pipeline.plan import variant_mark

_HASH_BYTES = 8


class VariantFigures(Struct):
    """The outcomes of one variant, tokens and cost (USD) as far as they are known, None if nothing is."""

    name: str
    answered: int = 0
    failed: int = 0
    _cost: Decimal | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    truncated: int = 0
    _answers: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, state: int, record: Outcome) -> None:
        """Take in the outcome of a row."""
        if record.cost is not None:
            self._cost = (self._cost or Decimal(0)) + record.cost
        if state not in ANSWERS:
            self.failed += 1
            return
        self.answered += 1
        if record.prompt_tokens is not None:
            self.prompt_tokens = (self.prompt_tokens or 0) + record.prompt_tokens
        if record.completion_tokens is not None:
            self.completion_tokens = (self.completion_tokens or 0) + record.completion_tokens
        self.truncated += record.truncated is True
        text = (record.response or "").encode("utf-8", "replace")
        self._answers.append(int.from_bytes(hashlib.blake2b(text, digest_size=_HASH_BYTES).digest(), "big"))

    @property
    def cost_usd(self) -> Decimal | None:
        """Return what is known of the cost; None if there are answers, and nothing is."""
        return Decimal(0) if self._cost is None and not self.answered else self._cost

    @property
    def distinct_answers(self) -> int:
        """How many different answers there are."""
        return len(np.unique(np.frombuffer(self._answers, np.uint64))) if self._answers else 0


class Variants:
    """The figures of each variant. `names` are the names of a job's variants, by what the journal calls them, none
    without a sweep; `heads` are those of all events, oldest first.
    """

    def __init__(self, names: Mapping[str, str], heads: Iterable[EventHead] = ()) -> None:
        self._by_mark = {mark: VariantFigures(name) for mark, name in names.items()}
        # An answer that was taken over belongs to the variant of the row that took it.
        self._taken = {head.source: variant_mark(head.row_id) for head in heads if head.state in ADOPTIONS}

    def add(self, entry: EventHead, record: Outcome) -> None:
        """Take in the event that is the outcome of a row."""
        figures = self._by_mark.get(self._taken.get(entry.seq) or variant_mark(entry.row_id))
        if figures is not None:
            figures.add(entry.state, record)

    @property
    def figures(self) -> list[VariantFigures]:
        """The figures, in the order of the variants."""
        return list(self._by_mark.values())
