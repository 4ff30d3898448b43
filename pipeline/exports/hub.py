"""A folder for the Hugging Face hub: Parquet files by split, and the card that says what they are.

`datasets.load_dataset(DIR)` reads it by the card's `configs` (huggingface.co/docs/hub/datasets-manual-configuration).
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct, field

from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.exports.selection import FAILED, TRUNCATED, Chosen
from pipeline.exports.voting import TIES
from pipeline.sink import RowGroup
from pipeline.sources import pick
from pipeline.sources.hashes import text_hashes
from pipeline.storage import draft_path, sync_file, sync_path
from pipeline.wording import counted, money

_ROWS_A_FILE = 500_000
_SUMMED = ("cost_usd", "prompt_tokens", "completion_tokens")

WHOLE = {"train": Decimal(1)}
"""What there is without splits."""


def read_splits(text: str | None) -> dict[str, Decimal]:
    """Return the share of each split, from `train=0.9,test=0.1`. Raises InvalidInput unless they sum to 1."""
    if text is None:
        return WHOLE
    shares: dict[str, Decimal] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        if not name.isidentifier() or name in shares:
            raise InvalidInput(
                f"--split {text}: {name!r} is no name of a split, or there twice; write train=0.9,test=0.1"
            )
        try:
            shares[name] = Decimal(share)
        except ArithmeticError:
            raise InvalidInput(f"--split {text}: {share!r} is no share; write train=0.9,test=0.1") from None
    if not all(0 < share <= 1 for share in shares.values()) or sum(shares.values()) != 1:
        raise InvalidInput(f"--split {text}: the shares must be above 0 and sum to 1")
    return shares


def splits_of(row_ids: Sequence[str], shares: Mapping[str, Decimal]) -> npt.NDArray[np.int64]:
    """Return the number of each row's split: by a hash of its id alone, so that it stays where it is when rows are
    appended.
    """
    if len(shares) == 1:
        return np.zeros(len(row_ids), np.int64)
    ends = [min(2**64 - 1, math.ceil(2**64 * share)) for share in accumulate(shares.values())]
    return np.searchsorted(np.array(ends[:-1], np.uint64), text_hashes(row_ids), "right")


class JobFacts(Struct, frozen=True):
    """What a card says of the job: its name, and what else there is to tell, by what it is."""

    name: str
    told: Mapping[str, str]


class Figures(Struct):
    """What a card says of the rows in its files: how many each split has, and of the columns with figures the sum,
    and how many of the `answered` rows do not have it.
    """

    rows: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    sums: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(_SUMMED, Decimal(0)))
    unknown: Counter[str] = field(default_factory=Counter)

    def told(self, column: str, words: str) -> str:
        """Return the sum of a column in words, as far as it is known."""
        unknown = self.unknown[column]
        if not unknown:
            return words
        return "unknown" if unknown == self.answered else f"{words}, and unknown of {counted(unknown, 'row')}"


def publish_folder(
    chosen: Chosen, path: Path, shares: Mapping[str, Decimal], facts: JobFacts, record: Callable[[Path], None]
) -> int:
    """Put the folder at `path`, in the place of what stands there, when it is complete. Returns the number of rows.

    Args:
        record: is told of the complete folder before it is put at `path`; may raise OSError.

    Raises CheckpointFailed where it cannot be written, and what the reading of the rows raises.
    """
    draft, old = (draft_path(path, chosen.results.checkpoint_id + end) for end in ("", ".old"))
    try:
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)
        figures = _write_folder(chosen, draft, shares, facts)
        for file in [one for one in draft.rglob("*") if one.is_file()]:
            sync_file(file)
        record(draft)
        if path.exists():
            path.rename(old)
        draft.rename(path)
        sync_path(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise CheckpointFailed(f"{path}: the export cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return figures.rows.total()


def _write_folder(chosen: Chosen, directory: Path, shares: Mapping[str, Decimal], facts: JobFacts) -> Figures:
    (directory / "data").mkdir(parents=True)
    files = {name: _Files(directory / "data", name, chosen.schema) for name in shares}
    figures = Figures()
    row_id = chosen.column("row_id")
    for part in chosen.parts():
        of = splits_of(part.rows.column(row_id).to_pylist(), shares)
        _count(figures, part.rows, chosen)
        for number, name in enumerate(shares):
            own = np.flatnonzero(of == number)
            if len(own):
                files[name].write(pick(part.rows, own).select(chosen.schema.names))
                figures.rows[name] += len(own)
    # `datasets` loads no folder with a split without rows; where there are none at all, one file tells the columns.
    kept = [name for name in shares if figures.rows[name]] or list(shares)[:1]
    for name in kept:
        files[name].close()
    (directory / "README.md").write_text(_card(chosen, figures, kept, shares, facts), encoding="utf-8")
    return figures


class _Files:
    """The files of one split, named once it is known how many there are. Without rows there is one, without rows."""

    def __init__(self, directory: Path, split: str, schema: pa.Schema) -> None:
        self._directory, self._split, self._schema = directory, split, schema
        self._written: list[Path] = []
        self._waiting = RowGroup()
        self._rows = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows."""
        self._waiting.add(rows)
        if self._waiting.is_full:
            self._flush()

    def close(self) -> None:
        """Write what is left, and name the files."""
        if self._waiting.rows or not self._written:
            self._flush()
        self._end_file()
        for number, path in enumerate(self._written):
            path.rename(self._directory / f"{self._split}-{number:05}-of-{len(self._written):05}.parquet")

    def _flush(self) -> None:
        if self._writer is None:
            self._written.append(self._directory / f"{self._split}-{len(self._written):05}.parquet")
            # Pieces that depend on the content alone let the hub store once what two versions share.
            self._writer = pq.ParquetWriter(
                self._written[-1],
                self._schema,
                compression="zstd",
                write_page_index=True,
                use_content_defined_chunking=True,
            )
        self._rows += self._waiting.rows
        self._writer.write_table(self._waiting.take(self._schema))
        if self._rows >= _ROWS_A_FILE:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._rows = None, 0


def _count(figures: Figures, rows: pa.RecordBatch, chosen: Chosen) -> None:
    answered = pc.equal(rows.column(chosen.column("status")), "succeeded")
    figures.answered += answered.true_count
    for name in _SUMMED:
        column = rows.column(chosen.column(name))
        figures.sums[name] += pc.sum(column).as_py() or 0
        figures.unknown[name] += pc.and_(answered, column.is_null()).true_count


_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def _size(rows: int) -> str:
    return next((word for most, word in _SIZES if rows < most), "10M<n<100M" if rows < 10**8 else "100M<n<1B")


def _card(chosen: Chosen, figures: Figures, names: Iterable[str], shares: Iterable[str], facts: JobFacts) -> str:
    """Return the card: metadata that the hub reads, then what the rows are, in words and figures. `names` are those of
    the splits that have files, `shares` of all.
    """
    rows, (cost, *tokens) = figures.rows.total(), _SUMMED
    metadata = [
        "---",
        "license: unknown",
        "size_categories:",
        f"- {_size(rows)}",
        "tags:",
        "- synthetic",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(line for split in names for line in (f"  - split: {split}", f"    path: data/{split}-*.parquet")),
        "---",
    ]
    left_out = chosen.left_out
    lines = [
        f"# {facts.name}",
        "",
        "Answers of a language model, made by llm-batch-pipeline. Each row has its prompt's columns, the answer, its"
        " tokens and its cost.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {word} | {value} |" for word, value in facts.told.items()),
        *(f"| rows in `{split}` | {figures.rows[split]:,} |" for split in shares),
        f"| cost of these rows | {figures.told(cost, f'${money(figures.sums[cost])}')} |",
        *(f"| {name.replace('_', ' ')} | {figures.told(name, f'{figures.sums[name]:,}')} |" for name in tokens),
        f"| failed, left out | {_share(left_out[FAILED], chosen.read)} |",
        f"| truncated, left out | {_share(left_out[TRUNCATED], chosen.read)} |",
        *([] if chosen.selection.vote is None else [_vote_line(chosen)]),
        "",
    ]
    return "\n".join([*metadata, "", *lines])


def _vote_line(chosen: Chosen) -> str:
    ties = chosen.left_out[TIES]
    return f"| vote | of each row's samples one that says the most frequent `{chosen.selection.vote}`; {ties:,} ties |"


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.1%})" if of else "0"
