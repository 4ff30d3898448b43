"""The rows of a job with their identity, and the request that each one makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from pipeline.expect import Expected
from pipeline.plan.blocks import BlockReader, Blocks
from pipeline.plan.cells import SEPARATOR, cell_marks, input_row_id
from pipeline.plan.keys import Keys, keys_of_contents, keys_of_ids
from pipeline.plan.variants import UnsentFailure, Variant
from pipeline.prompts import PromptFailure
from pipeline.records import Request, Row
from pipeline.sources import Source, pick
from pipeline.sources.identity import content_digests, content_keys, id_texts, row_values
from pipeline.sources.places import Place
from pipeline.sources.utf8 import not_utf8

_T = TypeVar("_T")
_MAX_ROWS = 4096


class RowPart(Struct, frozen=True):
    """Some of the rows that an input batch makes: positions, ids as of `Rows.identities`, contents, input values."""

    positions: list[int]
    ids: list[str]
    contents: list[str]
    values: Sequence[Row]
    _rows: Rows

    def requests(self) -> Iterator[tuple[Request | UnsentFailure, str]]:
        """Yield the request of each row and its hash, rendered one by one."""
        return self._rows.requests(self.positions, self.values, self.contents)


class Rows(Struct, frozen=True):
    """The rows of a job, with their identity and requests: every row of the input, for each variant and sample.

    A position counts these rows, from 0. The rows of one input row are adjacent, in the order variant, then sample.
    """

    source: Source
    id_columns: tuple[str, ...]
    variants: tuple[Variant, ...]
    samples: int | None = None
    """The answers for each row; None where the job does not say, which means one."""
    carried: Sequence[str] | None = None
    """The input columns that the output has; None for all."""
    expected: Expected | None = None
    """What the answers have to be."""
    has_replies: bool = False
    """Whether the output has the replies as they came."""
    deduplicate: bool = False
    """Whether rows of the same request share one outcome."""
    has_cache: bool = False
    """Whether answers of other jobs are taken."""

    @property
    def cells(self) -> int:
        """How many rows an input row makes."""
        return len(self.variants) * (self.samples or 1)

    @property
    def has_variants(self) -> bool:
        """Whether the job sweeps over settings."""
        return bool(self.variants[0].name)

    @property
    def has_marks(self) -> bool:
        """Whether the rows of an input row are told apart by marks behind their ids."""
        return self._marks != [""]

    def input_id(self, row_id: str) -> str:
        """Return the id of the input row that a row was made of."""
        return input_row_id(row_id, has_marks=self.has_marks)

    @property
    def most_answers(self) -> int:
        """The most answers that a row is asked for."""
        return 1 if self.expected is None else self.expected.attempts

    @property
    def shares(self) -> bool:
        """Whether a row may have an answer that it has not paid for."""
        return self.deduplicate or self.has_cache

    def variant_of(self, position: int) -> int:
        """Return the number of the variant that the row at a position belongs to, from 0."""
        return position % self.cells // (self.samples or 1)

    def cell(self, position: int) -> tuple[Variant, int]:
        """Return the variant and the sample of the row at a position."""
        return self.variants[self.variant_of(position)], position % (self.samples or 1)

    def place(self, position: int) -> Place:
        """Return where the input row of a position is; see `Source.place`."""
        return self.source.place(position // self.cells)

    def batches(self, start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the input from the row of position `start` on: each batch, with the position of the first row that it
        makes.

        A batch makes at most 4,096 rows, unless a single input row makes more.
        """
        cells = self.cells
        position = start // cells
        most = max(1, _MAX_ROWS // cells)
        used = None if self.carried is None else {*self.carried, *self._columns, *self.id_columns}
        for batch in self.source.batches(position):
            if (found := not_utf8(batch, used)) is not None:
                name, index = found
                raise self.source.place(position + index).error(
                    f"column {name!r} holds bytes that are no UTF-8 text",
                    "write the column as UTF-8 or as binary, or leave it out of the prompt and of `input.columns`",
                )
            for offset in range(0, batch.num_rows, most):
                yield (position + offset) * cells, batch.slice(offset, most)
            position += batch.num_rows

    @property
    def _columns(self) -> set[str]:
        return {column for variant in self.variants for column in variant.builder.columns}

    def count(self, batch: pa.RecordBatch) -> int:
        """Return how many rows an input batch makes."""
        return int(batch.num_rows) * self.cells

    def identities(self, position: int, batch: pa.RecordBatch) -> tuple[list[str], list[str]]:
        """Return the id of each row that a batch makes, as in the journal, and the content key of its input row.

        The id is that of the input row with the mark of the cell. Without id columns it is the content key, and equal
        ones are not made unique yet. `position` is that of the first row. Raises InvalidJob for an id that is null,
        empty, or neither text nor an integer.
        """
        contents = content_keys(batch)
        own = contents if not self.id_columns else self.own_ids(position, batch)
        return self._for_cells(own), self._repeated(contents)

    def ids(self, position: int, batch: pa.RecordBatch) -> list[str]:
        """Return the ids alone."""
        return self._for_cells(content_keys(batch) if not self.id_columns else self.own_ids(position, batch))

    def keys(self, position: int, batch: pa.RecordBatch, contents: Sequence[str] | None = None) -> Keys:
        """Return the keys of the input rows of a batch: of their ids, or without id columns of their contents, if
        `identities` has given those already. Raises as `identities` does.
        """
        if self.id_columns:
            return keys_of_ids(self.own_ids(position, batch))
        known = None if contents is None else bytes.fromhex("".join(contents[:: self.cells]))
        return keys_of_contents(content_digests(batch) if known is None else known)

    def block_reader(self, before: Blocks | None = None) -> BlockReader:
        """Return what divides these rows into blocks, behind the blocks of those that are known already."""
        return BlockReader(by_content=not self.id_columns, before=before)

    def digest(self, blocks: Blocks) -> str:
        """Return a digest of these rows in their order, given their blocks."""
        return blocks.digest([*self.id_columns, *self._marks])

    def part(self, position: int, batch: pa.RecordBatch, offsets: npt.NDArray[np.int64]) -> RowPart:
        """Return some of the rows that a batch makes: those at ascending offsets from `position`, which is that of its
        first row.
        """
        cells = self.cells
        needed, at = np.unique(offsets // cells, return_inverse=True)
        picked = pick(batch, needed)
        ids, contents = self.identities(position, picked)
        values = row_values(picked)
        own = (at * cells + offsets % cells).tolist()
        return RowPart(
            (offsets + position).tolist(),
            [ids[index] for index in own],
            [contents[index] for index in own],
            [values[index] for index in at.tolist()],
            self,
        )

    def wanted_parts(self, wanted: npt.NDArray[np.bool_]) -> Iterator[RowPart]:
        """Yield the rows at the positions where `wanted` is true, a part for each input batch that makes some."""
        left = int(wanted.sum())
        for start, batch in self.batches(int(np.argmax(wanted))) if left else ():
            offsets = np.flatnonzero(wanted[start : start + self.count(batch)])
            if len(offsets):
                yield self.part(start, batch, offsets)
                left -= len(offsets)
                if not left:
                    return

    def request(self, row: Row, content: str, position: int) -> tuple[Request | UnsentFailure, str]:
        """Return the request of the row at a position and its hash, rendered from the values of its input row."""
        variant, sample = self.cell(position)
        return variant.request(row, content, sample)

    def asked(self, positions: Iterable[int], rows: Iterable[Row]) -> Iterator[Request | None]:
        """Yield what the rows at ascending positions ask, as `requests` does but without hashes, which take longer than
        all else; None for a row that makes no request.
        """
        samples, of, first = self.samples or 1, -1, None
        for position, row in zip(positions, rows, strict=True):
            variant, sample = self.cell(position)
            if of != position // samples:
                of = position // samples
                try:
                    first = variant.builder.request(row)
                except PromptFailure:
                    first = None
            yield None if first is None else variant.builder.sampled(first, sample)

    def requests(
        self, positions: Iterable[int], rows: Iterable[Row], contents: Iterable[str]
    ) -> Iterator[tuple[Request | UnsentFailure, str]]:
        """Yield the requests of the rows at ascending positions, as `request` does. Samples of one row are rendered
        once.
        """
        samples = self.samples or 1
        of, asked = -1, None
        for position, row, content in zip(positions, rows, contents, strict=True):
            variant, sample = self.cell(position)
            if asked is None or of != position // samples:
                of, asked = position // samples, variant.request(row, content)
            first, first_hash = asked
            if sample and isinstance(first, Request):
                yield variant.sampled(first, first_hash, sample)
            else:
                yield asked

    def request_hashes(self, position: int, batch: pa.RecordBatch, contents: Sequence[str]) -> list[str]:
        """Return the request hash of every row that a batch makes; `position` is that of the first."""
        return [hashed for _, hashed in self.batch_requests(position, batch, contents)]

    def batch_requests(
        self, position: int, batch: pa.RecordBatch, contents: Sequence[str]
    ) -> Iterator[tuple[Request | UnsentFailure, str]]:
        """Yield what every row that a batch makes asks, as `requests` does."""
        values = self._repeated(row_values(batch))
        return self.requests(range(position, position + len(values)), values, contents)

    def own_ids(self, position: int, batch: pa.RecordBatch) -> list[str]:
        """Return the id of each input row of a batch, by the id columns. Raises as `identities` does."""
        found = id_texts(batch, self.id_columns)
        ids = [text for text in found if text is not None]
        if len(ids) < len(found):
            index = found.index(None)
            row = row_values(batch.slice(index, 1))[0]
            column = next(name for name in self.id_columns if id_texts(batch.slice(index, 1), (name,)) == [None])
            what = "is empty" if row[column] in (None, "") else "holds neither text nor an integer"
            place = self.place(position + index * self.cells)
            message = f"the id column {column!r} {what}"
            raise place.error(message, "give the row an id, or leave out `input.id`", key="input.id")
        if self.cells > 1 or self.has_variants:
            for index, text in enumerate(ids):
                if SEPARATOR in text:
                    message = f"the id of {', '.join(map(repr, self.id_columns))} holds the control character U+001F"
                    hint = "take it out of the id: with samples or a sweep it has a meaning of its own"
                    raise self.place(position + index * self.cells).error(message, hint, key="input.id")
        return ids

    def _for_cells(self, ids: list[str]) -> list[str]:
        marks = self._marks
        return [own + mark for own in ids for mark in marks] if self.has_marks else ids

    @property
    def _marks(self) -> list[str]:
        return cell_marks(tuple(variant.mark for variant in self.variants), self.samples or 1)

    def _repeated(self, values: list[_T]) -> list[_T]:
        cells = self.cells
        return values if cells == 1 else [value for value in values for _ in range(cells)]
