"""Which of a job's answers an export holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field

from pipeline.arrays import strings
from pipeline.errors import InvalidInput, InvalidJob
from pipeline.exports.beside import Answers
from pipeline.exports.duplicates import Duplicates, Exact, Near
from pipeline.exports.fields import unknown_column
from pipeline.exports.voting import Vote
from pipeline.prompts import PromptFailure
from pipeline.prompts.conditions import Condition
from pipeline.records import Message, Request
from pipeline.sink import Joined
from pipeline.sources import pick
from pipeline.sources.identity import row_values

_SUCCEEDED = strings(["succeeded"])[0]
FAILED, TRUNCATED, CONDITION, DUPLICATES = "failed", "truncated", "not chosen by --where", "duplicates"


class Selection(Struct, frozen=True):
    """What an export holds.

    `failed` adds failed and truncated rows. `where` is a condition on the output's row. `dedup` keeps the first of
    several rows with the same, or nearly the same, prompt and answer. `vote` is the field by which the majority of a
    row's samples is kept. `columns` are those of the output to write, in that order; None for all.
    """

    failed: bool = False
    where: str | None = None
    dedup: Literal["exact", "near"] | None = None
    vote: str | None = None
    columns: tuple[str, ...] | None = None


class Part(Struct, frozen=True):
    """Some rows of an export: `rows` in the output's columns, the input row of each, and what each asked; None for one
    that asks nothing.
    """

    rows: pa.RecordBatch
    asked: Callable[[], pa.RecordBatch]
    requests: Callable[[], list[Request | None]]


class Chosen(Struct):
    """The rows of an export, in input order. While they are read, `left_out` counts the others by reason, and `read`
    all with an outcome.

    `with_failed`: the shape has a place for failed rows, so they are there whatever the selection says.
    """

    results: Answers
    selection: Selection
    with_failed: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    read: int = 0

    def __post_init__(self) -> None:
        """Raise InvalidInput for a column that the output does not have, or a condition that is none."""
        names = self._whole_schema().names
        for name in self.selection.columns or ():
            if name not in names:
                raise InvalidInput(f"--columns: {unknown_column(name, names)}")
            if (self.selection.columns or ()).count(name) > 1:
                raise InvalidInput(f"--columns names {name!r} twice")
        self._condition()

    @property
    def schema(self) -> pa.Schema:
        """The columns to write."""
        schema, names = self._whole_schema(), self.selection.columns
        return schema if names is None else pa.schema([schema.field(name) for name in names])

    def _whole_schema(self) -> pa.Schema:
        vote = self._vote()
        return self.results.schema if vote is None else pa.schema([*self.results.schema, *vote.fields])

    def column(self, name: str) -> str:
        """Return what a column of the output's own is called in this job."""
        return self.results.prefix + name

    def parts(self) -> Iterator[Part]:
        """Yield the rows.

        Raises:
            InvalidInput: the condition fails on a row, or the input changed.
            CheckpointFailed: the journal is damaged.
        """
        condition, duplicates, vote = self._condition(), self._duplicates(), self._vote()
        found = self.results.joined()
        for whole in found if vote is None else vote.whole_rows(found):
            self.read += whole.rows.num_rows
            kept, joined = self._with_answers(whole.rows), whole
            if condition is not None:
                kept = self._holding(condition, whole.rows, kept)
            if vote is not None:
                joined = vote.picked(whole, kept, self.left_out)
                kept = range(joined.rows.num_rows)
            part = self._part(joined, kept)
            if duplicates is not None and kept:
                kept = self._first_ones(duplicates, part, kept)
                part = self._part(joined, kept)
            if len(kept):
                yield part

    def _condition(self) -> Condition | None:
        if self.selection.where is None:
            return None
        try:
            return Condition(self.selection.where, "--where", self.results.schema.names, "output")
        except InvalidJob as error:
            (first, *_) = error.mistakes
            hint = f"; {first.suggestion}" if first.suggestion else ""
            raise InvalidInput(f"--where: {first.message}{hint}") from None

    def _vote(self) -> Vote | None:
        return None if self.selection.vote is None else Vote(self.selection.vote, self.results)

    def _duplicates(self) -> Duplicates | None:
        match self.selection.dedup:
            case "exact":
                return Exact()
            case "near":
                return Near()
        return None

    def _with_answers(self, rows: pa.RecordBatch) -> Sequence[int]:
        if self.selection.failed or self.with_failed:
            return range(rows.num_rows)
        cut = rows.column(self.column("truncated"))
        succeeded = pc.equal(rows.column(self.column("status")), _SUCCEEDED)
        truncated = pc.and_(succeeded, pc.and_kleene(pc.is_valid(cut), cut))
        self.left_out[FAILED] += rows.num_rows - succeeded.true_count
        self.left_out[TRUNCATED] += truncated.true_count
        # `to_numpy` of flags imports pandas.
        kept = pc.and_not(succeeded, truncated).cast(pa.uint8()).buffers()[1]
        found: list[int] = np.flatnonzero(np.frombuffer(kept, np.uint8, rows.num_rows)).tolist()
        return found

    def _holding(self, condition: Condition, rows: pa.RecordBatch, kept: Sequence[int]) -> list[int]:
        values = row_values(rows)
        holding = []
        for index in kept:
            try:
                if condition.holds(values[index]):
                    holding.append(index)
            except PromptFailure as failure:
                raise InvalidInput(f"row {values[index][self.column('row_id')]}: {failure.message}") from None
        self.left_out[CONDITION] += len(kept) - len(holding)
        return holding

    def _first_ones(self, duplicates: Duplicates, part: Part, kept: Sequence[int]) -> list[int]:
        answers = part.rows.column(self.column("response")).to_pylist()
        first = [
            index
            for index, request, answer in zip(kept, part.requests(), answers, strict=True)
            if not duplicates.is_known(prompt_text(request), answer or "")
        ]
        self.left_out[DUPLICATES] += len(kept) - len(first)
        return first

    def _part(self, joined: Joined, kept: Sequence[int]) -> Part:
        def requests() -> list[Request | None]:
            values, rows = row_values(joined.asked), self.results.rows
            positions = joined.positions[np.array(kept, np.int64)].tolist()
            return list(rows.asked(positions, [values[index] for index in kept]))

        def picked(rows: pa.RecordBatch) -> pa.RecordBatch:
            return rows if len(kept) == rows.num_rows else pick(rows, np.array(kept, dtype=np.int64))

        return Part(picked(joined.rows), lambda: picked(joined.asked), requests)


def prompt_text(request: Request | None) -> str:
    """Return what was asked as one text."""
    return "" if request is None else "\n".join(_content(message) for message in request.messages)


def _content(message: Message) -> str:
    return f"{message['role']}: {message['content']}"
