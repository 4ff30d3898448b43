"""A file as pieces of bytes, unpacked where its ending is .gz or .zst."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.sources.places import path_fault

PIECE_BYTES = 2**20
_CODECS = {".gz": "gzip", ".zst": "zstd"}


def pieces(path: str) -> Iterator[bytes]:
    """The file's bytes in pieces of at most 1 MiB, none of them empty.

    Raises InvalidJob where the file cannot be read, is cut short or damaged, or unpacks to nothing.
    """
    codec = next((codec for ending, codec in _CODECS.items() if path.lower().endswith(ending)), None)
    empty = True
    try:
        with open(path, "rb") as plain:
            # Arrow's streams, unlike plain zlib, name a cut-off member and go on over members laid end to end.
            stream = pa.CompressedInputStream(plain, codec) if codec else plain
            while piece := stream.read(PIECE_BYTES):
                empty = False
                yield piece
    except (OSError, pa.ArrowException) as error:
        what = f"cannot be unpacked; it is cut short, damaged or not {codec}" if codec else "cannot be read"
        raise path_fault(f"{path} {what}: {error}") from error
    if empty:
        raise path_fault(f"{path} holds no bytes at all")
