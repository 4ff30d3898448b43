"""The body of a reply, decoded, within a limit on its size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

from pipeline.errors import ErrorKind
from pipeline.transport.reply import AttemptHooks, TransportError, too_large

DECODED_PIECE = 2**20
"""The most bytes that one decoding step returns, so that a gzip bomb is stopped near the limit."""

GZIP_MAGIC = b"\x1f\x8b"
GZIP_OR_ZLIB_HEADER = 32 + zlib.MAX_WBITS
NO_HEADER = -zlib.MAX_WBITS


class Body:
    """Collects the body of a reply piece by piece, as received but without its framing."""

    def __init__(self, headers: Mapping[str, str], length: int | None, most_bytes: int, hooks: AttemptHooks) -> None:
        """Prepare for a body of `length` bytes as sent, None if unknown.

        If the hooks stream the body, nothing of it is kept. Raises TransportError for a length beyond `most_bytes`
        and for an encoding that is unknown.
        """
        self._encoding = _encoding_of(headers.get("Content-Encoding", ""))
        if self._encoding is None and length is not None and length > most_bytes:
            raise too_large(most_bytes)
        self._inflater = None if self._encoding is None else Inflater(self._encoding)
        self._most_bytes = most_bytes
        self._pieces: list[bytes] = []
        self._take = hooks.on_data if hooks.streams_body else self._pieces.append
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """Take a piece. Raises TransportError for more than `most_bytes` decoded bytes and for a broken encoding."""
        if self._inflater is None:
            self._add(piece)
            return
        try:
            for decoded in self._inflater.decoded(piece):
                self._add(decoded)
        except zlib.error:
            raise self._broken() from None

    def complete(self) -> bytes:
        """Return the decoded body after the last piece. Raises TransportError if the encoding is incomplete."""
        if self._inflater is not None and not self._inflater.has_ended:
            raise self._broken()
        return b"".join(self._pieces)

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most_bytes:
            raise too_large(self._most_bytes)
        self._take(piece)

    def _broken(self) -> TransportError:
        message = f"the reply's {self._encoding} encoding is broken"
        return TransportError(ErrorKind.INVALID_REPLY, message, True, True)


class Inflater:
    """Decompresses a stream piece by piece. Several gzip members form one body; what follows the last is ignored."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._member: zlib._Decompress | None = None
        self._held = b""
        self._is_over = False

    @property
    def has_ended(self) -> bool:
        """Whether no member is incomplete; an empty body has none."""
        return not self._held if self._member is None else self._member.eof

    def decoded(self, data: bytes) -> Iterator[bytes]:
        """Yield a piece decoded, at most a mebibyte at a time. Raises zlib.error."""
        data, self._held = self._held + data, b""
        while data and not self._is_over:
            if (self._member is None or self._member.eof) and len(data) < len(GZIP_MAGIC):
                self._held = data  # two bytes are needed to recognize a member
                return
            if self._member is None:
                self._member = zlib.decompressobj(_window_bits(self._encoding, data))
            elif self._member.eof:
                if not data.startswith(GZIP_MAGIC):
                    self._is_over = True
                    return
                self._member = zlib.decompressobj(GZIP_OR_ZLIB_HEADER)
            while True:
                piece = self._member.decompress(data, DECODED_PIECE)
                yield piece
                data = self._member.unconsumed_tail
                if self._member.eof or (not data and len(piece) < DECODED_PIECE):
                    break
            data = self._member.unused_data


def _encoding_of(header: str) -> str | None:
    """Return the only coding of a body, `gzip` or `deflate`, or None."""
    codings = [coding.strip().lower() for coding in header.split(",")]
    codings = [coding.removeprefix("x-") for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in ("gzip", "deflate"):
        raise TransportError(ErrorKind.INVALID_REPLY, "the reply's content encoding is not supported", True, True)
    return codings[0]


def _window_bits(encoding: str, start: bytes) -> int:
    """Return zlib's `wbits`. "deflate" means the zlib format, but some servers send it bare (RFC 9110, 8.4.1.2)."""
    has_zlib_header = start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0
    return NO_HEADER if encoding == "deflate" and not has_zlib_header else GZIP_OR_ZLIB_HEADER
