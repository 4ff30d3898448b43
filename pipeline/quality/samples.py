"""What the samples of each row have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from pipeline.expect import Expected
from pipeline.expect.votes import Agreement, Agreements


class BySample:
    """Counts the different answers of each row, in each variant, and how far they agree. Rows come in order, `samples`
    positions to each.
    """

    def __init__(self, samples: int, expected: Expected | None) -> None:
        self._samples = samples
        self._agreements = Agreements(expected)
        self._rows = self._distinct = 0
        self._open = -1
        self._responses: set[str] = set()
        self._ballots: list[list[str | None]] = []

    def add(self, positions: Sequence[int], responses: Sequence[str], parsed: Sequence[Any]) -> None:
        """Take in further answers at ascending positions."""
        answers = zip(positions, responses, parsed, strict=True)
        for of, group in groupby(answers, lambda answer: answer[0] // self._samples):
            if of != self._open:
                self._close()
                self._open = of
            for _, response, value in group:
                self._responses.add(response)
                self._ballots.append(self._agreements.ballots(response, value))

    def distinct(self) -> float | None:
        """Return how many different answers a row has on average; None of no row."""
        self._close()
        return round(self._distinct / self._rows, 3) if self._rows else None

    def agreement(self) -> dict[str, Agreement]:
        """Return how far the answers to a row agree, by what they are compared by."""
        self._close()
        return self._agreements.figures

    def _close(self) -> None:
        if self._ballots:
            self._rows += 1
            self._distinct += len(self._responses)
            self._agreements.add(self._ballots)
        self._open, self._responses, self._ballots = -1, set(), []
