"""The bodies of requests. An image takes a third more as text, so it is written out only while it is sent."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterator, Sequence

from pipeline.images import Image
from pipeline.records import JsonObject

_MARK = "\udc00"
"""Stands for an image in JSON: a lone surrogate, which no text of a request holds, for it could not be UTF-8."""
_BYTES_AT_ONCE = 3 * 2**16


class Pieces:
    """The `size` bytes of a body, which `make` makes anew in pieces, none of them empty, each time they are wanted."""

    def __init__(self, size: int, make: Callable[[], Iterator[bytes]]) -> None:
        self._size = size
        self._make = make

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._make()

    def __bytes__(self) -> bytes:
        return b"".join(self)


RequestBody = bytes | Pieces


class JsonBodies:
    """Makes bodies of JSON text, one at a time."""

    def __init__(self) -> None:
        self._images: list[Image] = []
        self._encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=self._mark)

    def of(self, payload: JsonObject) -> RequestBody:
        """Return the body of a payload, with images as data: URLs."""
        text = self._encoder.encode(payload)
        if not self._images:
            return text.encode()
        images, self._images = self._images, []
        return _with_images(text.split(_MARK), images)

    def _mark(self, value: object) -> str:
        if not isinstance(value, Image):
            raise TypeError(f"{type(value).__name__} is no JSON value")
        self._images.append(value)
        return value.prefix + _MARK


def _with_images(texts: Sequence[str], images: Sequence[Image]) -> Pieces:
    """Return the body that texts make with an image between each and the next."""
    first, *others = [text.encode() for text in texts]

    def make() -> Iterator[bytes]:
        yield first
        for image, text in zip(images, others, strict=True):
            for start in range(0, len(image.data), _BYTES_AT_ONCE):
                yield binascii.b2a_base64(image.data[start : start + _BYTES_AT_ONCE], newline=False)
            yield text

    return Pieces(len(first) + sum(map(len, others)) + sum(image.base64_bytes for image in images), make)
