"""Which of a job's answers an export holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InvalidInput, InvalidJob
from pipeline.exports.duplicates import Duplicates, Exact, Near
from pipeline.plan import UnsentFailure
from pipeline.prompts import PromptFailure
from pipeline.prompts.conditions import Condition
from pipeline.records import Message, Request
from pipeline.sink import Joined, Results
from pipeline.sources import pick
from pipeline.sources.identity import row_values
from pipeline.suggest import did_you_mean, nearest

FAILED, TRUNCATED, CONDITION, DUPLICATES = "failed", "truncated", "not chosen by --where", "duplicates"


@dataclass(frozen=True, slots=True)
class Selection:
    """What an export holds.

    `failed` adds failed and truncated rows. `where` is a condition on the output's row. `dedup` keeps the first of
    several rows with the same, or nearly the same, prompt and answer. `columns` are those of the output to write, in
    that order; None for all.
    """

    failed: bool = False
    where: str | None = None
    dedup: Literal["exact", "near"] | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of an export: `rows` in the output's columns, and what each asked; None for one that asks nothing."""

    rows: pa.RecordBatch
    requests: Callable[[], list[Request | None]]


@dataclass(slots=True)
class Chosen:
    """The rows of an export, in input order; `left_out` counts the others by reason while they are read.

    `with_failed`: the shape has a place for failed rows, so they are there whatever the selection says.
    """

    results: Results
    selection: Selection
    with_failed: bool = False
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Raise InvalidInput for a column that the output does not have, or a condition that is none."""
        names = self.results.schema.names
        for name in self.selection.columns or ():
            if name not in names:
                raise InvalidInput(f"--columns: {unknown_column(name, names)}")
        self._condition()

    @property
    def schema(self) -> pa.Schema:
        """The columns to write."""
        schema = self.results.schema
        return (
            schema if self.selection.columns is None else pa.schema([schema.field(n) for n in self.selection.columns])
        )

    def column(self, name: str) -> str:
        """Return what a column of the output's own is called in this job."""
        return self.results.prefix + name

    def parts(self) -> Iterator[Part]:
        """Yield the rows.

        Raises:
            InvalidInput: the condition fails on a row, or the input changed.
            CheckpointFailed: the journal is damaged.
        """
        condition, duplicates = self._condition(), self._duplicates()
        for joined in self.results.joined():
            kept = self._with_answers(joined.rows)
            if condition is not None:
                kept = self._holding(condition, joined.rows, kept)
            part = self._part(joined, kept)
            if duplicates is not None and len(kept):
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
        succeeded = pc.equal(rows.column(self.column("status")), "succeeded")
        truncated = pc.and_(succeeded, pc.fill_null(rows.column(self.column("truncated")), False))
        self.left_out[FAILED] += rows.num_rows - (pc.sum(succeeded).as_py() or 0)
        self.left_out[TRUNCATED] += pc.sum(truncated).as_py() or 0
        found: list[int] = np.flatnonzero(pc.and_not(succeeded, truncated).to_numpy(zero_copy_only=False)).tolist()
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
            found = [rows.request(values[index], "", int(joined.positions[index]))[0] for index in kept]
            return [None if isinstance(request, UnsentFailure) else request for request in found]

        whole = len(kept) == joined.rows.num_rows
        return Part(joined.rows if whole else pick(joined.rows, np.array(kept, dtype=np.int64)), requests)


def prompt_text(request: Request | None) -> str:
    """Return what was asked as one text."""
    return "" if request is None else "\n".join(_content(message) for message in request.messages)


def _content(message: Message) -> str:
    return f"{message['role']}: {message['content']}"


def unknown_column(name: str, names: Sequence[str]) -> str:
    """Return what there is to say of a column that the output does not have."""
    hint = did_you_mean([repr(one) for one in nearest(name, names)]) or f"it has {', '.join(map(repr, names))}"
    return f"the output has no column {name!r}; {hint}"
