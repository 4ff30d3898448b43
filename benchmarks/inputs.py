"""The prompts that are sent, as Parquet files, and the answers that the server gives to them."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import BUILD

_ROWS_AT_ONCE = 50_000
_BYTES_AT_ONCE = 2**26
_PAGE_BYTES = 2**20
_FILLER = "The river is old and the road along it is older; both know the way to the sea. "


def marker(row: int) -> str:
    """Return what a row's prompt and its answer begin with."""
    return f"[row {row:010d}]"


@cache
def _words() -> str:
    chance = random.Random(4)
    letters = "etaoinshrdlucmfwypvbgk"
    return " ".join("".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(60_000))


def text(row: int, length: int) -> str:
    """Return the marker of a row and words, other ones for each row; `length` bytes in all, up to 300,000."""
    words = _words()
    start = row * 7919 % (len(words) - length)
    return f"{marker(row)} {words[start : start + length - len(marker(row)) - 1]}"


def answer(row: int, length: int = 700) -> str:
    """Return the text that the server answers a row's prompt with."""
    filler = (_FILLER * (length // len(_FILLER) + 1))[:length]
    return marker(row) + filler[len(marker(row)) :]


def prompts(rows: int, prompt_bytes: int = 300, *, small_pages: bool = False) -> Path:
    """Make a Parquet file of rows with an `id` (int64, from 0) and a `prompt`, unless it exists.

    As pyarrow writes it by default, which is 1,024 texts a page and a dictionary of as many, however long they are; or
    with pages of a megabyte, which is what it aims at (`data_page_size`), and no dictionary.
    """
    path = BUILD / "inputs" / f"{rows}x{prompt_bytes}{'-small-pages' * small_pages}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        schema = pa.schema([("id", pa.int64()), ("prompt", pa.string())])
        step = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // prompt_bytes))
        paged = {"write_batch_size": max(1, _PAGE_BYTES // prompt_bytes), "use_dictionary": False}
        with pq.ParquetWriter(draft, schema, compression="zstd", **(paged if small_pages else {})) as writer:
            for start in range(0, rows, step):
                numbers = range(start, min(rows, start + step))
                texts = [text(row, prompt_bytes) for row in numbers]
                writer.write_table(pa.table({"id": pa.array(numbers, pa.int64()), "prompt": texts}, schema))
        draft.rename(path)
    return path
