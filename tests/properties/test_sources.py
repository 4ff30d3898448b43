"""Any text goes through CSV and Parquet unchanged; any CSV reads as Python's csv module reads it, or is refused."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.models import CsvConfig, InputConfig
from pipeline.errors import InvalidInput
from pipeline.sources import open_source, scan
from pipeline.sources.identity import content_keys

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8) | st.sampled_from(
    ["NA", "null", '"', '""', ",", "\r\n", "\r", "\n", "\n\n", " ", "\ufeff", "007", "1.0"]
)
DELIMITERS = st.sampled_from(",;\t| ")


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    names = draw(st.lists(TEXT.filter(bool), min_size=1, max_size=4, unique=True))
    # Hidden from the first name: a byte order mark at the beginning of a file is dropped.
    names[0] = names[0].lstrip("\ufeff") or "first name"
    rows = draw(st.lists(st.lists(TEXT, min_size=len(names), max_size=len(names)), max_size=6))
    return (names, rows) if len(set(names)) == len(names) else (["only"], [row[:1] for row in rows])


@contextmanager
def file_with(content: bytes, name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(content)
        yield str(path)


def written(names: list[str], rows: list[list[str]], delimiter: str, line_end: str, quoting: int) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([names, *rows])
    return stream.getvalue()


def read(path: str, delimiter: str = ",") -> pa.Table:
    source = open_source(InputConfig(path=path, csv=CsvConfig(delimiter=delimiter)))
    return pa.Table.from_batches(source.batches(), source.schema)


def keys(table: pa.Table) -> list[str]:
    return [key for batch in table.to_batches() for key in content_keys(batch)]


# Where its rows end in "\n", the writer of some versions of Python leaves a "\r" without quotes.
STYLES = st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)])


@given(tables(), DELIMITERS, STYLES)
def test_texts_come_back_from_csv_and_parquet_as_they_were_written(
    table: tuple[list[str], list[list[str]]], delimiter: str, style: tuple[str, int]
) -> None:
    names, rows = table
    line_end, quoting = style
    expected = pa.table({name: pa.array([row[index] for row in rows], pa.string()) for index, name in enumerate(names)})
    with file_with(written(names, rows, delimiter, line_end, quoting).encode(), "x.csv") as path:
        from_csv = read(path, delimiter)
    stream = io.BytesIO()
    pq.write_table(expected, stream)
    with file_with(stream.getvalue(), "x.parquet") as path:
        from_parquet = read(path)
    assert from_csv.equals(expected)
    assert from_parquet.equals(expected)
    assert keys(from_csv) == keys(from_parquet)


SOUP = st.text(st.sampled_from('ab,"\n\r \0\ufeffé'), max_size=30)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    names, rows = draw(tables())
    text = written(names, rows, ",", draw(st.sampled_from(["\n", "\r\n"])), csv.QUOTE_MINIMAL)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 3)))
    return text[:start] + draw(SOUP) + text[end:]


@given(SOUP | mutated())
def test_any_text_reads_as_the_csv_module_reads_it_or_is_refused(text: str) -> None:
    with file_with(text.encode(), "x.csv") as path:
        try:
            table = read(path)
        except InvalidInput:
            return
    header, *rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    while rows and not rows[-1]:
        rows.pop()  # blank lines at the end
    assert table.schema.names == header
    assert [list(row.values()) for row in table.to_pylist()] == rows


@given(SOUP | mutated(), st.integers(1, 7))
def test_where_the_text_is_cut_into_pieces_does_not_show(text: str, size: int) -> None:
    def outcome(pieces: list[str]) -> object:
        try:
            reading = scan.Scan("x.csv", ",", iter(pieces))
            names = reading.header()
            return names, "".join(block.text for block in reading.blocks(len(names)))
        except InvalidInput as refusal:
            return str(refusal)

    assert outcome([text]) == outcome([text[at : at + size] for at in range(0, len(text), size)])
