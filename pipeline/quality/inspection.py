"""What the answers of a job are like: lengths, gaps, repetitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipeline.expect.votes import Agreement
from pipeline.exports.duplicates import Duplicates, Near, pair_hash
from pipeline.exports.selection import prompt_text
from pipeline.quality.distinct import DistinctCount
from pipeline.quality.quantiles import Amounts, Quantiles
from pipeline.quality.samples import BySample
from pipeline.quality.variants import ByVariant, VariantFigures
from pipeline.records import Request, message_texts
from pipeline.sink import AnyResults, Joined
from pipeline.sources import pick
from pipeline.sources.identity import row_values

NEAR_ROWS = 100_000
"""Near duplicates are looked for among so many rows at most: each that is kept takes half a kilobyte."""

_OPENING_WORDS = 4
_OPENINGS = 10
_MOST_OPENINGS = 50_000


class ColumnFigures(Struct, frozen=True):
    """Of a column: the share of nulls, None where there are no rows, and how many different values there are."""

    null_rate: float | None
    distinct: int


class TextFigures(Struct, frozen=True):
    """How long texts are: in characters, and in tokens as the endpoint counted them."""

    characters: Quantiles
    tokens: Quantiles


class Repeated(Struct, frozen=True):
    """Rows whose prompt and answer came before: to the letter, or nearly. `near` is None where it was not looked for,
    `compared` is among how many rows it was.
    """

    exact: int
    near: int | None
    compared: int


class Opening(Struct, frozen=True):
    """How answers begin, and how many do."""

    opening: str
    rows: int


class Inspected(Struct, frozen=True):
    """What the rows with an outcome are like. Lengths, repetitions and openings are of those that were answered.

    `distinct_per_prompt` is how many different answers the samples of one row have, on average; `agreement` is how far
    they say the same, by field of `parsed`, or else in the response. Both are None without samples.
    `variants` has the figures of each variant by its name; None without a sweep.
    """

    rows: int
    columns: dict[str, ColumnFigures]
    prompt: TextFigures
    response: TextFigures
    truncated: int
    empty: int
    refused: int
    duplicates: Repeated
    distinct_per_prompt: float | None
    agreement: dict[str, Agreement] | None
    openings: list[Opening]
    variants: dict[str, VariantFigures] | None


def inspect(results: AnyResults, *, near: bool = True) -> Inspected:
    """Return what the answers so far are like, from one pass over them; `near` looks for near duplicates too.

    Raises:
        InvalidInput: the input changed, or `near` is wanted without the extra `near`.
        CheckpointFailed: the journal is damaged.
    """
    looking = _Looking(results, near=near)
    for joined in results.joined():
        looking.add(joined)
    return looking.result()


class _Looking:
    def __init__(self, results: AnyResults, *, near: bool) -> None:
        self._results = results
        self._columns = {name: DistinctCount() for name in results.schema.names}
        self._amounts = {name: Amounts() for name in ("prompt", "prompt_tokens", "response", "completion_tokens")}
        self._counts: Counter[str] = Counter()
        self._pairs = DistinctCount()
        self._near: Duplicates | None = Near() if near else None
        self._openings: Counter[str] = Counter()
        self._samples = None if results.rows.samples is None else BySample(results.rows.samples, results.rows.expected)
        self._variants = ByVariant(results.rows, results.prefix)

    def add(self, joined: Joined) -> None:
        """Take in further rows."""
        for name, count in self._columns.items():
            count.add(joined.rows.column(name))
        self._counts["rows"] += joined.rows.num_rows
        self._variants.add(joined)
        answered = np.flatnonzero(
            pc.equal(self._own(joined.rows, "status"), "succeeded").to_numpy(zero_copy_only=False)
        )
        rows = pick(joined.rows, answered)
        self._counts["truncated"] += pc.sum(self._own(rows, "truncated")).as_py() or 0
        kinds = Counter(self._own(rows, "response_type").to_pylist())
        self._counts["empty"] += kinds["empty"]
        self._counts["refused"] += kinds["refusal"]
        for name in ("prompt_tokens", "completion_tokens"):
            self._amounts[name].add_column(self._own(rows, name))
        requests = self._requests(pick(joined.asked, answered), joined.positions[answered].tolist())
        self._amounts["prompt"].add(
            sum(map(len, message_texts(request.messages))) if request else 0 for request in requests
        )
        responses = [text or "" for text in self._own(rows, "response").to_pylist()]
        self._amounts["response"].add(map(len, responses))
        self._repeated(requests, responses)
        self._open(responses)
        if self._samples is not None:
            self._samples.add(joined.positions[answered].tolist(), responses, self._parsed(rows))

    def result(self) -> Inspected:
        """Return the figures."""
        amounts = {name: found.quantiles() for name, found in self._amounts.items()}
        is_near = self._near is not None
        repeated = Repeated(
            self._pairs.repeated, self._counts["near"] if is_near else None, self._counts["compared"] if is_near else 0
        )
        openings = [Opening(text, rows) for text, rows in self._openings.most_common(_OPENINGS)]
        return Inspected(
            self._counts["rows"],
            {
                name: ColumnFigures(round(found.nulls / found.rows, 6) if found.rows else None, found.distinct)
                for name, found in self._columns.items()
            },
            TextFigures(amounts["prompt"], amounts["prompt_tokens"]),
            TextFigures(amounts["response"], amounts["completion_tokens"]),
            self._counts["truncated"],
            self._counts["empty"],
            self._counts["refused"],
            repeated,
            None if self._samples is None else self._samples.distinct(),
            None if self._samples is None else self._samples.agreement(),
            openings,
            self._variants.figures(),
        )

    def _own(self, rows: pa.RecordBatch, name: str) -> pa.Array:
        return rows.column(self._results.prefix + name)

    def _parsed(self, rows: pa.RecordBatch) -> list[Any]:
        return self._own(rows, "parsed").to_pylist() if self._results.rows.expected else [None] * rows.num_rows

    def _requests(self, asked: pa.RecordBatch, positions: list[int]) -> list[Request | None]:
        return list(self._results.rows.asked(positions, row_values(asked)))

    def _repeated(self, requests: Iterable[Request | None], responses: Iterable[str]) -> None:
        pairs: list[int] = []
        for request, response in zip(requests, responses, strict=True):
            prompt = prompt_text(request)
            pairs.append(pair_hash(prompt, response))
            if self._near is not None and self._counts["compared"] < NEAR_ROWS:
                self._counts["compared"] += 1
                self._counts["near"] += self._near.is_known(prompt, response)
        self._pairs.add_hashes(np.array(pairs, np.uint64))

    def _open(self, responses: Iterable[str]) -> None:
        self._openings.update(
            " ".join(text.split(maxsplit=_OPENING_WORDS)[:_OPENING_WORDS]) for text in responses if text
        )
        if len(self._openings) > _MOST_OPENINGS:
            self._openings = Counter(dict(self._openings.most_common(_MOST_OPENINGS // 2)))
