"""How far the samples of each row agree, from a journal, where they come in any order."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np

from pipeline.expect import Expected
from pipeline.expect.votes import Agreement, Agreements
from pipeline.journal import ADOPTIONS, ANSWERS, EventHead, Outcome
from pipeline.plan import input_row_id, variant_mark

_HASH_BYTES = 8


class SampleAgreement:
    """The agreement of the answers that stand, kept by hashes: 8 bytes for each answer and each name that answers are
    compared by. `heads` are those of all events, oldest first, `has_marks` is as for `input_row_id`.
    """

    def __init__(self, expected: Expected | None, heads: Iterable[EventHead], *, has_marks: bool) -> None:
        self._expected = expected
        self._has_marks = has_marks
        self._agreements = Agreements(expected)
        self._kept = array("Q")
        # An answer that was taken over belongs to the row that took it.
        self._taken = {head.source: head.row_id for head in heads if head.state in ADOPTIONS}

    def add(self, entry: EventHead, record: Outcome) -> None:
        """Take in the event that is the outcome of a row."""
        if entry.state not in ANSWERS:
            return
        row_id = self._taken.get(entry.seq, entry.row_id)
        truncated, response = record.truncated, record.response
        parsed = None if self._expected is None else self._expected.value(response, truncated=truncated)
        ballots = self._agreements.ballots(response or "", parsed)
        mark = variant_mark(row_id) if self._has_marks else ""
        row = f"{input_row_id(row_id, has_marks=self._has_marks)}\x1f{mark}"
        self._kept.extend([_hash(row), *(0 if ballot is None else _hash(ballot) for ballot in ballots)])

    @property
    def figures(self) -> dict[str, Agreement]:
        """The figures of all answers, by what they are compared by."""
        kept = np.frombuffer(self._kept, np.uint64).reshape(-1, 1 + len(self._agreements.names))
        kept = kept[np.argsort(kept[:, 0], kind="stable")]
        for answers in np.split(kept[:, 1:], np.flatnonzero(np.diff(kept[:, 0])) + 1):
            self._agreements.add([[ballot or None for ballot in one] for one in answers.tolist()])
        return self._agreements.figures


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_HASH_BYTES).digest(), "big")
