"""A file as pieces of bytes, unpacked where its ending is .gz or .zst."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.sources.files import InputFile
from pipeline.sources.places import input_error

PIECE_BYTES = 2**20
_CODECS = {".gz": "gzip", ".zst": "zstd"}


_OTHER_FORMATS = {
    b"PK\x03\x04": ("an Excel workbook, or another ZIP archive", "save its sheet as CSV, and name that file"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Excel workbook", "save its sheet as CSV, and name that file"),
    b"PAR1": ("Parquet", "set `input.format: parquet`, or give it that ending"),
    b"\x1f\x8b\x08": ("compressed with gzip", "give it the ending .gz as well"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "give it the ending .zst as well"),
    b"ARROW1\0\0": ("an Arrow (Feather) file", "write it as Parquet"),
    b"Obj\x01": ("an Avro file", "write it as Parquet"),
    b"SQLite format 3\0": ("an SQLite database", "write the table as CSV or Parquet"),
}


def other_format(start: bytes) -> tuple[str, str] | None:
    """Return what a file that begins so is, if it is not text, and what to do about it."""
    return next((found for magic, found in _OTHER_FORMATS.items() if start.startswith(magic)), None)


def codec_of(path: str) -> str | None:
    """Return how a file is packed, by its ending; None if it is not."""
    return next((codec for ending, codec in _CODECS.items() if path.lower().endswith(ending)), None)


def pieces(file: InputFile, start: int = 0) -> Iterator[bytes]:
    """Yield the file's bytes in pieces of at most 1 MiB, none of them empty; of a file that is not packed, those from
    `start` on.

    Raises InvalidJob if the file cannot be read, is truncated or damaged, or unpacks to nothing.
    """
    path = file.path
    codec = codec_of(path)
    empty = not start
    try:
        with file.open() as plain:
            plain.seek(start)
            # Arrow's streams, unlike plain zlib, name a cut-off member and go on over members laid end to end.
            stream = pa.CompressedInputStream(plain, codec) if codec else plain
            while piece := stream.read(PIECE_BYTES):
                if empty and (found := other_format(piece)) is not None:
                    raise input_error(f"{path} is {found[0]}, whatever its name says", found[1])
                empty = False
                yield piece
    except (OSError, pa.ArrowException) as error:
        what = f"cannot be unpacked; it is cut short, damaged or not {codec}" if codec else "cannot be read"
        raise input_error(f"{path} {what}: {error}") from error
    if empty:
        raise input_error(f"{path} holds no bytes at all")
