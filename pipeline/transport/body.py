"""The body of a reply, whole and decoded, within a bound on its size."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

from pipeline.errors import ErrorKind
from pipeline.transport.reply import TransportError, Watch, too_large

DECODED_PIECE = 2**20
"""The most bytes one step of decoding gives, so that a gzip bomb stops near the cap."""

GZIP_MAGIC = b"\x1f\x8b"
GZIP_OR_ZLIB_HEADER = 32 + zlib.MAX_WBITS
NO_HEADER = -zlib.MAX_WBITS


def read_body(
    wire: Iterable[bytes], headers: Mapping[str, str], length: int | None, most_bytes: int, watch: Watch
) -> bytes:
    """Reads a reply's body to its end; `length` is in bytes on the wire, None where that was not said beforehand. Where
    the watch takes it piece by piece, nothing is left to give.

    Raises TransportError for more than `most_bytes` decoded bytes and for an encoding that is unknown or broken, and
    what `wire` raises for a body that was cut off.
    """
    encoding = _encoding_of(headers.get("Content-Encoding", ""))
    if encoding is None and length is not None and length > most_bytes:
        raise too_large(most_bytes)
    pieces: list[bytes] = []
    take = watch.received if watch.takes_body else pieces.append
    size = 0
    try:
        for piece in wire if encoding is None else _decoded(wire, encoding):
            size += len(piece)
            if size > most_bytes:
                raise too_large(most_bytes)
            take(piece)
    except zlib.error:
        raise TransportError(
            ErrorKind.INVALID_REPLY, f"the reply's {encoding} encoding is broken", True, True
        ) from None
    return b"".join(pieces)


def _encoding_of(header: str) -> str | None:
    """The one coding a body has, `gzip` or `deflate`, or None."""
    codings = [coding.strip().lower() for coding in header.split(",")]
    codings = [coding.removeprefix("x-") for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in ("gzip", "deflate"):
        raise TransportError(ErrorKind.INVALID_REPLY, "the reply's content encoding is not supported", True, True)
    return codings[0]


def _decoded(wire: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Inflates a stream piece by piece. Several gzip members make one body; what follows the last one is ignored."""
    inflater = None
    for wire_piece in wire:
        data = wire_piece
        while data:
            if inflater is None:
                inflater = zlib.decompressobj(_window_bits(encoding, data))
            elif inflater.eof:
                if not data.startswith(GZIP_MAGIC):
                    break
                inflater = zlib.decompressobj(GZIP_OR_ZLIB_HEADER)
            while True:
                piece = inflater.decompress(data, DECODED_PIECE)
                yield piece
                data = inflater.unconsumed_tail
                if inflater.eof or (not data and len(piece) < DECODED_PIECE):
                    break
            data = inflater.unused_data
    if inflater is not None and not inflater.eof:
        raise zlib.error("the stream has no end")


def _window_bits(encoding: str, start: bytes) -> int:
    """zlib's `wbits`. "deflate" means the zlib format, but some servers send it bare (RFC 9110, 8.4.1.2)."""
    has_zlib_header = start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0
    return NO_HEADER if encoding == "deflate" and not has_zlib_header else GZIP_OR_ZLIB_HEADER
