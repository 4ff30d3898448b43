"""Input rows with their identity, and the request that each one makes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import ErrorKind
from pipeline.prompts import Prompter, PromptFailure
from pipeline.records import Request, digest, request_hash
from pipeline.sources import Source
from pipeline.sources.identity import content_keys, id_texts, row_values
from pipeline.sources.utf8 import not_utf8


@dataclass(frozen=True, slots=True)
class UnsentFailure:
    """A row that makes no request: its prompt is empty, too long, or cannot be made."""

    kind: ErrorKind
    message: str


class RowsDigest:
    """Names rows in their order, by id and content."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def update(self, ids: Sequence[str], contents: Sequence[str]) -> None:
        """Take in further rows."""
        # Length first: no two lists of rows give the same bytes.
        rows = (f"{len(row_id)}:{row_id}{content}" for row_id, content in zip(ids, contents, strict=True))
        self._hash.update("".join(rows).encode())

    def hexdigest(self) -> str:
        """The digest of the rows so far, 32 hexadecimal digits."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class Rows:
    """The input, and how a row of it is known and asked."""

    source: Source
    id_column: str | None
    prompter: Prompter
    endpoint_kind: str
    model: str
    carried: Sequence[str] | None = None
    """The input columns that the output has; None for all."""

    def batches(self, start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The input from row `start` on, each batch with the position of its first row."""
        position = start
        used = None if self.carried is None else {*self.carried, *self.prompter.columns, self.id_column or ""}
        for batch in self.source.batches(start):
            if (found := not_utf8(batch, used)) is not None:
                name, index = found
                raise self.source.place(position + index).fault(
                    f"column {name!r} holds bytes that are no UTF-8 text",
                    "write the column as UTF-8 or as binary, or leave it out of the prompt and of `input.columns`",
                )
            yield position, batch
            position += batch.num_rows

    def identities(self, position: int, batch: pa.RecordBatch) -> tuple[list[str], list[str]]:
        """Each row's id (its content key where the job names no id column; repeated ones are not told apart yet) and
        its content key. `position` is that of the first row. Raises InvalidJob for a null or empty id, or one that is
        neither text nor an integer.
        """
        contents = content_keys(batch)
        return (contents if self.id_column is None else self.ids(position, batch)), contents

    def ids(self, position: int, batch: pa.RecordBatch) -> list[str]:
        """Each row's id alone."""
        if self.id_column is None:
            return content_keys(batch)
        ids = id_texts(batch, self.id_column)
        if None in ids:
            index = ids.index(None)
            value = row_values(batch.slice(index, 1))[0][self.id_column]
            what = "is empty" if value in (None, "") else "holds neither text nor an integer"
            place = self.source.place(position + index)
            message = f"the id column {self.id_column!r} {what}"
            raise place.fault(message, "give the row an id, or leave out `input.id`", key="input.id")
        return [text for text in ids if text is not None]

    def request(self, row: Mapping[str, Any], content: str) -> tuple[Request | UnsentFailure, str]:
        """What the row asks, and the hash of that. A row that asks nothing has a hash of its content instead."""
        try:
            request = self.prompter.request(row)
        except PromptFailure as failure:
            unsent = UnsentFailure(failure.kind, failure.message)
            return unsent, digest(["unsent", self.endpoint_kind, self.model, unsent.kind, content])
        return request, request_hash(self.endpoint_kind, request)

    def request_hashes(self, batch: pa.RecordBatch, contents: list[str]) -> list[str]:
        """The request hash of every row of a batch."""
        return [self.request(row, content)[1] for row, content in zip(row_values(batch), contents, strict=True)]
