"""How the samples of a row agree: each answer is a ballot for one value."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import pyarrow as pa
from msgspec import Struct

from pipeline.expect.verdict import Expected

RESPONSE, PARSED = "response", "parsed"
_MOST_FIELDS = 20

Ballot = TypeVar("Ballot", bound=Hashable)


class Won(Struct, Generic[Ballot], frozen=True):
    """The most frequent value of a row's answers, and its share of them."""

    value: Ballot
    share: float


class Agreement(Struct, frozen=True):
    """How the answers to one row agree, over all `rows` with two answers at least.

    `share` is the mean share of the most frequent answer, None without rows. In `unanimous` rows all answers are the
    same; in `tied` ones none is more frequent than all others.
    """

    rows: int
    share: float | None
    unanimous: int
    tied: int


class Tally:
    """Adds up how the answers to each row agree."""

    def __init__(self) -> None:
        self._rows = self._unanimous = self._tied = 0
        self._shares = 0.0

    def add(self, ballots: Iterable[Hashable]) -> None:
        """Take in the ballots of one row. A single one agrees with nothing, and is not counted."""
        counts = Counter(ballots)
        of = counts.total()
        if of < 2:
            return
        most = max(counts.values())
        self._rows += 1
        self._shares += most / of
        self._unanimous += most == of
        self._tied += list(counts.values()).count(most) > 1

    @property
    def agreement(self) -> Agreement:
        """The figures so far."""
        share = round(self._shares / self._rows, 6) if self._rows else None
        return Agreement(self._rows, share, self._unanimous, self._tied)


def majority(ballots: Iterable[Ballot]) -> Won[Ballot] | None:
    """Return the value with most ballots; None for a tie, and without any."""
    counts = Counter(ballots)
    most = max(counts.values(), default=0)
    winners = [value for value, count in counts.items() if count == most]
    return Won(winners[0], most / counts.total()) if len(winners) == 1 else None


def ballot_of(value: Any) -> str:
    """Return what a value that is not null counts as: equal values as the same, 4 and 4.0 too."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, default=str)


class Agreements:
    """How the answers to each row agree, by what they are compared by: the fields of `parsed`, all of it where it has
    none, or else the response.
    """

    def __init__(self, expected: Expected | None) -> None:
        self._tallies = {name: Tally() for name in _compared(expected)}

    @property
    def names(self) -> Sequence[str]:
        """What answers are compared by."""
        return list(self._tallies)

    def ballots(self, response: str | None, parsed: Any) -> list[str | None]:
        """Return the ballot of one answer by each of the names; None where it has no value."""
        if self.names == [RESPONSE]:
            return [response]
        values = {PARSED: parsed} if self.names == [PARSED] else parsed or {}
        found = [values.get(name) for name in self._tallies]
        return [None if value is None else ballot_of(value) for value in found]

    def add(self, answers: Sequence[Sequence[Hashable | None]]) -> None:
        """Take in all answers to one row, each as its ballots in the order of the names."""
        for index, tally in enumerate(self._tallies.values()):
            tally.add(answer[index] for answer in answers if answer[index] is not None)

    @property
    def figures(self) -> dict[str, Agreement]:
        """The figures so far, by name."""
        return {name: tally.agreement for name, tally in self._tallies.items()}


def _compared(expected: Expected | None) -> list[str]:
    if expected is None:
        return [RESPONSE]
    kind = expected.expectation.type
    if not pa.types.is_struct(kind) or not kind.num_fields:
        return [PARSED]
    return [kind.field(index).name for index in range(min(kind.num_fields, _MOST_FIELDS))]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
