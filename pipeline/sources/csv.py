"""CSV files: every column is text, and every cell comes back as it is written.

The strict scan of `scan` cuts the text into blocks of complete, valid rows, and pyarrow parses the blocks. So pyarrow
never sees text that it would repair, memory is bounded by the block, and blocks before the first wanted row are
skipped.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

from pipeline.config.models import CsvConfig
from pipeline.errors import InvalidJob, Mistake
from pipeline.sources.chunks import Chunk, FileReader, Mark
from pipeline.sources.files import InputFile
from pipeline.sources.places import Place
from pipeline.sources.scan import Block, Grammar, Scan
from pipeline.sources.streams import codec_of, pieces

OTHER_DELIMITERS = {";": '";"', "\t": '"\\t"', "|": '"|"'}
"""Delimiters that are known by their look, as a job file has them."""


def readers(files: Sequence[InputFile], config: CsvConfig) -> list[FileReader]:
    """Read the header of each file.

    Raises InvalidJob if a header is invalid, or the delimiter is not ASCII.
    """
    if not config.delimiter.isascii():
        message, hint = "must be an ASCII character; pyarrow supports no other", 'the usual ones are "," ";" and "\\t"'
        raise InvalidJob([Mistake(message, key="input.csv.delimiter", suggestion=hint)])
    return [_reader(file, config) for file in files]


def _reader(file: InputFile, config: CsvConfig) -> FileReader:
    names = Scan(file.path, config.delimiter, _texts(file, config.encoding)).header()
    if len(names) == 1 and "delimiter" not in config.model_fields_set:
        _refuse_other_delimiter(file.path, names[0])
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    return FileReader(file, schema, partial(_chunks, file, config.delimiter, config.encoding, schema))


def _refuse_other_delimiter(path: str, header: str) -> None:
    """Raise InvalidJob if the only column's name looks like several, separated by another delimiter."""
    counts = {sign: header.count(sign) for sign in OTHER_DELIMITERS}
    likely = max(counts, key=lambda sign: counts[sign])
    if counts[likely]:
        written = OTHER_DELIMITERS[likely]
        raise Place(path, 1).error(
            f"the header is one column, {header!r}; its cells seem to be separated by {written}",
            f'set `input.csv.delimiter: {written}`; if it really is one column, set it to ","',
            key="input.csv.delimiter",
        )


def _chunks(
    file: InputFile, delimiter: str, encoding: str, schema: pa.Schema, mark: Mark | None = None
) -> Iterator[Chunk]:
    path = file.path
    has_marks = codec_of(path) is None and codecs.lookup(encoding).name == "utf-8"
    scan = Scan(path, delimiter, _texts(file, encoding, mark), 1 if mark is None else mark.line)
    if mark is None:
        scan.header()
        mark = Mark(0, scan.header_bytes + (_bom_bytes(file) if has_marks else 0), 0)
    for block in scan.blocks(len(schema)):
        mark = mark._replace(line=block.line)
        raw = block.text.encode()
        yield Chunk(
            block.rows,
            partial(_parse, path, block, raw, schema, delimiter),
            partial(_place, path, block, len(schema), delimiter),
            mark if has_marks else None,
        )
        mark = Mark(mark.rows + block.rows, mark.byte + len(raw), 0)


def _bom_bytes(file: InputFile) -> int:
    with file.open() as opened:
        return len(codecs.BOM_UTF8) if opened.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0


def _parse(path: str, block: Block, raw: bytes, schema: pa.Schema, delimiter: str) -> Iterator[pa.RecordBatch]:
    # A header of its own, since pyarrow drops a byte order mark from the first row it sees.
    header = delimiter.join(f'"{index}"' for index in range(len(schema))) + "\n"
    data = header.encode() + raw
    table = read_csv(
        pa.BufferReader(data),
        read_options=ReadOptions(use_threads=False, block_size=len(data) + 1),  # in one piece
        parse_options=ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False),
        convert_options=ConvertOptions(
            column_types={str(index): pa.string() for index in range(len(schema))}, strings_can_be_null=False
        ),
    )
    if table.num_rows != block.rows:
        message = f"from here on, pyarrow reads {table.num_rows} rows instead of {block.rows}"
        raise Place(path, block.line).error(message)
    for batch in table.rename_columns(schema.names).to_batches():
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _place(path: str, block: Block, cells: int, delimiter: str, index: int) -> Place:
    row = Grammar(delimiter).row(cells)
    at = 0
    for _ in range(index):
        match = row.match(block.text, at)
        at = match.end() if match else at
    return Place(path, block.line + block.text.count("\n", 0, at))


def _texts(file: InputFile, encoding: str, mark: Mark | None = None) -> Iterator[str]:
    """Yield the file's text in pieces, without its byte order mark, or what comes after a mark.

    Raises InvalidJob, with the line, at bad bytes.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    line, first = (1, True) if mark is None else (mark.line, False)
    for piece in _with_end(pieces(file, 0 if mark is None else mark.byte)):
        try:
            text = decoder.decode(piece, final=not piece)
            if not is_utf8:
                text.encode("utf-8")  # some encodings can hold half a surrogate pair, which is not text
        except UnicodeError as error:
            line += _sound_lines(error)
            raise Place(file.path, line).error(
                f"not {encoding}: {getattr(error, 'reason', error)}",
                "set `input.csv.encoding` to the file's (latin-1, cp1252, utf-16, …)",
            ) from error
        if first and text:
            text = text.removeprefix("\ufeff")
            first = False
        line += text.count("\n")
        yield text


def _with_end(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield from chunks
    yield b""


def _sound_lines(error: UnicodeError) -> int:
    """Return how many line breaks come before the error, in the bytes or the text that it is about."""
    if isinstance(error, UnicodeDecodeError):
        return error.object[: error.start].count(b"\n")
    return error.object[: error.start].count("\n") if isinstance(error, UnicodeEncodeError) else 0
