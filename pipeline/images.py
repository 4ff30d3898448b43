"""Images as they go to an endpoint: their bytes, with what these say of themselves. Nothing is decoded."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

MAX_BYTES = 20_000_000
"""The largest image that is sent."""

_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


class NotAnImage(Exception):
    """Bytes that are not sent as an image; the message says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image. Its identity is the SHA-256 of its bytes, wherever they came from; as text it is a data: URL, which is
    made when it is asked for.
    """

    data: bytes = field(repr=False, compare=False)
    media_type: str
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Image:
        """Return the image of these bytes. Raises NotAnImage."""
        if len(data) > MAX_BYTES:
            raise NotAnImage(f"has {len(data):,} bytes; an image has at most {MAX_BYTES:,}")
        return cls(data, _media_type(data), hashlib.sha256(data).hexdigest())

    @property
    def prefix(self) -> str:
        """What stands before the bytes, in base64, in a data: URL."""
        return f"data:{self.media_type};base64,"

    @property
    def base64_bytes(self) -> int:
        """How many bytes the image takes in base64."""
        return 4 * -(-len(self.data) // 3)

    def __str__(self) -> str:
        return self.prefix + base64.b64encode(self.data).decode()


def _media_type(data: bytes) -> str:
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise NotAnImage("is no PNG, JPEG, GIF or WebP")
