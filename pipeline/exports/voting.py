"""Of the samples of a row, the one that says what most of them say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

from pipeline.errors import InvalidInput
from pipeline.expect.votes import ballot_of, majority
from pipeline.exports.beside import Answers
from pipeline.exports.fields import Field, find_field
from pipeline.sink import Joined
from pipeline.sources import pick

TIES, ABSTAINED = "tied", "without a vote"


class Vote:
    """Picks the majority among the samples of each row, in each variant, by one field of the output. The rows that it
    picks have two further columns: the field's value, and its share of the votes.

    Raises InvalidInput where the output has no such field, or has columns of their names, or a row no samples.
    """

    def __init__(self, name: str, results: Answers) -> None:
        if results.rows.samples is None:
            raise InvalidInput("--vote counts the samples of each row; this job does not set prompt.samples")
        self._field: Field = find_field(name, results.schema, results.prefix, "--vote")
        self._samples = results.rows.samples
        names = [results.prefix + name for name in ("vote", "vote_share")]
        if taken := [name for name in names if name in results.schema.names]:
            raise InvalidInput(f"--vote adds a column {taken[0]!r}, and the input has one; set output.prefix")
        self.fields = (pa.field(names[0], self._field.type), pa.field(names[1], pa.float64(), nullable=False))
        """The further columns."""

    def whole_rows(self, joined: Iterator[Joined]) -> Iterator[Joined]:
        """Yield the same output rows, parted so that the samples of a row are never apart."""
        waiting: Joined | None = None
        for part in joined:
            one = part if waiting is None else _together(waiting, part)
            of = one.positions // self._samples
            end = int(np.searchsorted(of, of[-1])) if len(of) else 0
            if end:
                yield _slice(one, 0, end)
            waiting = _slice(one, end, len(of))
        if waiting is not None:
            yield waiting

    def picked(self, joined: Joined, voting: Sequence[int], left_out: Counter[str]) -> Joined:
        """Return the first sample of each row that says what most say, where those with these indexes have a vote. A
        null is none. Ties, and rows without any vote, are counted in `left_out`.
        """
        chosen: list[int] = []
        shares: list[float] = []
        values = self._field.column(joined.rows).to_pylist()
        ballots = [None if value is None else ballot_of(value) for value in values]
        of = (joined.positions // self._samples).tolist()
        for _, indexes in groupby(voting, lambda index: of[index]):
            cast = [(ballot, index) for index in indexes if (ballot := ballots[index]) is not None]
            won = majority(ballot for ballot, _ in cast)
            if won is None:
                left_out[TIES if cast else ABSTAINED] += 1
                continue
            chosen.append(next(index for ballot, index in cast if ballot == won.value))
            shares.append(won.share)
        at = np.array(chosen, np.int64)
        rows = pick(joined.rows, at)
        further = [self._field.column(rows), pa.array(shares, pa.float64())]
        schema = pa.schema([*rows.schema, *self.fields])
        return Joined(
            pa.RecordBatch.from_arrays([*rows.columns, *further], schema=schema),
            pick(joined.asked, at),
            joined.positions[at],
        )


def _together(one: Joined, other: Joined) -> Joined:
    return Joined(
        _concatenated(one.rows, other.rows),
        _concatenated(one.asked, other.asked),
        np.concatenate([one.positions, other.positions]),
    )


def _concatenated(one: pa.RecordBatch, other: pa.RecordBatch) -> pa.RecordBatch:
    (batch,) = pa.Table.from_batches([one, other]).combine_chunks().to_batches() or [one]
    return batch


def _slice(joined: Joined, start: int, stop: int) -> Joined:
    length = stop - start
    return Joined(joined.rows.slice(start, length), joined.asked.slice(start, length), joined.positions[start:stop])
