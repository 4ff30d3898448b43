"""Positions and places of the rows that a condition leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from pipeline.errors import InvalidJob, Mistake
from pipeline.records import Row
from pipeline.sources import ChosenRows, InputFile, TableSource, Undecided
from pipeline.sources.identity import row_values
from pipeline.sources.places import Place


def each(holds: Callable[[Row], bool]) -> Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]:
    """Return what judges a batch row by row."""
    return lambda batch: np.fromiter(map(holds, row_values(batch)), np.bool_)


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
    def judge(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        raise Undecided(1, Mistake("it fails", key="input.where"))

    found = ChosenRows(TableSource(pa.table({"n": [1, 2, 3]})), judge)
    with pytest.raises(InvalidJob) as refused:
        numbers(found)
    assert (refused.value.mistakes[0].key, refused.value.mistakes[0].message) == ("input.where", "row 2: it fails")


class Pieces:
    """A source of these batches."""

    files: tuple[InputFile, ...] = ()

    def __init__(self, *batches: pa.RecordBatch) -> None:
        self.schema = batches[0].schema
        self._batches = batches
        self.read = 0

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield them from a row on."""
        for batch in self._batches:
            skipped = min(start, batch.num_rows)
            start -= skipped
            self.read += 1
            if skipped < batch.num_rows:
                yield batch.slice(skipped)

    def place(self, position: int) -> Place:
        """Return the number of the row alone."""
        return Place("pieces", position + 1, "row")


def pieces(count: int, rows: int) -> Pieces:
    return Pieces(*(pa.record_batch({"n": range(at * rows, (at + 1) * rows)}) for at in range(count)))


@pytest.mark.parametrize("start", [0, 1, 700, 1600])
def test_few_rows_of_many_batches_come_together(start: int) -> None:
    found = ChosenRows(pieces(40, 640), each(lambda row: row["n"] % 16 == 0))
    sizes = [batch.num_rows for batch in found.batches(start)]
    assert sum(sizes) == max(0, 1600 - start)
    assert len(sizes) <= 3
    assert numbers(found, start) == list(range(0, 40 * 640, 16))[start:]


def test_the_first_rows_are_not_kept_waiting_for_more_than_some_batches() -> None:
    whole = pieces(100, 10)
    first = next(ChosenRows(whole, each(lambda row: row["n"] in (3, 990))).batches())
    assert (first.column("n").to_pylist(), whole.read) == ([3], 16)


def test_batches_are_as_large_as_those_of_any_source() -> None:
    whole = pieces(3, 3000)
    assert [batch.num_rows for batch in ChosenRows(whole, each(lambda row: True)).batches()] == [3000, 3000, 3000]
    text = pa.record_batch({"n": ["x" * 2**20]})
    found = ChosenRows(Pieces(*[text] * 10), each(lambda row: True))
    assert [batch.num_rows for batch in found.batches()] == [3, 3, 3, 1]


def test_columns_that_are_marked_in_one_file_alone_stay_so() -> None:
    plain = pa.record_batch({"n": ["1"]})
    marked = pa.RecordBatch.from_arrays(
        [plain.column(0)], schema=pa.schema([pa.field("n", pa.string(), metadata={"a": "b"})])
    )
    found = list(ChosenRows(Pieces(plain, marked, marked), each(lambda row: True)).batches())
    assert [(batch.num_rows, batch.schema.field("n").metadata) for batch in found] == [(1, None), (2, {b"a": b"b"})]
