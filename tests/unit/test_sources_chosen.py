"""Positions and places of the rows that a condition leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from pipeline.errors import InvalidJob, Mistake
from pipeline.records import Row
from pipeline.sources import ChosenRows, TableSource
from pipeline.sources.identity import row_values


def each(holds: Callable[[Row], bool]) -> Callable[[pa.RecordBatch], Iterator[bool]]:
    """Return what judges a batch row by row."""
    return lambda batch: map(holds, row_values(batch))


def source(rows: int = 10_000) -> ChosenRows:
    return ChosenRows(TableSource(pa.table({"n": list(range(rows))})), each(lambda row: row["n"] % 3 == 0))


def numbers(found: ChosenRows, start: int = 0) -> list[int]:
    batches = list(found.batches(start))
    assert all(batch.num_rows for batch in batches)
    return [n for batch in batches for n in batch.column("n").to_pylist()]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("start", [0, 1, 1365, 1366, 3333, 3334])
def test_positions_count_the_rows_that_hold(start: int, known: bool) -> None:
    found = source()
    if known:
        numbers(found)
    assert numbers(found, start) == list(range(0, 10_000, 3))[start:]


def test_every_row_is_judged_once() -> None:
    judged = []

    def holds(row: Row) -> bool:
        judged.append(row["n"])
        return True

    found = ChosenRows(TableSource(pa.table({"n": [1, 2, 3]})), each(holds))
    assert numbers(found) == numbers(found) == [1, 2, 3]
    assert judged == [1, 2, 3]


def test_two_readers_at_a_time_see_the_same() -> None:
    found = source()
    one, other = found.batches(), found.batches(2000)
    next(one), next(other)
    for left in (one, other):
        list(left)
    assert numbers(found) == list(range(0, 10_000, 3))


@pytest.mark.parametrize("known", [False, True])
def test_a_place_is_that_of_the_row_in_the_input(known: bool) -> None:
    found = source(100)
    if known:
        numbers(found)
    assert found.place(2).number == 7
    with pytest.raises(IndexError):
        found.place(34)


def test_a_row_that_cannot_be_judged_is_named() -> None:
    def holds(row: Row) -> bool:
        raise InvalidJob([Mistake("it fails", key="input.where")])

    found = ChosenRows(TableSource(pa.table({"n": [1, 2, 3]})), each(holds))
    with pytest.raises(InvalidJob) as refused:
        numbers(found)
    assert (refused.value.mistakes[0].key, refused.value.mistakes[0].message) == ("input.where", "row 1: it fails")
