"""The images of a row, from columns of bytes, of structs with bytes or a path, of paths and of data: URLs."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from pipeline.errors import ErrorKind
from pipeline.images import MAX_BYTES, Image, NotAnImage
from pipeline.prompts.failures import PromptFailure
from pipeline.records import JsonObject, Row

_ADDRESSES = ("http://", "https://")
_EMBEDDED = "data:"


def image_parts(row: Row, columns: Sequence[str], *, sends_addresses: bool) -> list[JsonObject]:
    """Return a part of a message for each image in these columns, in their order.

    With `sends_addresses` an http(s) address is passed on; nothing is fetched here. Raises PromptFailure of the kind
    IMAGE_ERROR for what is not an image.
    """
    parts: list[JsonObject] = []
    for column in columns:
        for number, value in enumerate(_cells(row[column]), 1):
            try:
                url = _url(value, sends_addresses=sends_addresses)
            except NotAnImage as error:
                message = f"image {number} of column {column!r} {error}"
                raise PromptFailure(ErrorKind.IMAGE_ERROR, message, key="prompt.images") from None
            parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def paths_of(row: Row, columns: Sequence[str]) -> Iterator[str]:
    """Yield the path of each image in these columns that is a file."""
    for column in columns:
        for value in _cells(row[column]):
            if isinstance(value, str) and _is_path(value):
                yield value


def _cells(value: Any) -> Iterator[Any]:
    """Yield each image of a cell: one, the items of a list, none of a null."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _cells(item)
    elif isinstance(value, Mapping):  # the struct that HF's `datasets` writes
        data, path = value.get("bytes"), value.get("path")
        found = path if data is None else data
        if found is not None or not value.keys() & {"bytes", "path"}:
            yield found
    elif value is not None:
        yield value


def _url(value: Any, *, sends_addresses: bool) -> Image | str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Image.of(bytes(value))
    if not isinstance(value, str):
        raise NotAnImage("is neither bytes nor text, nor a struct of bytes and path")
    if _is_path(value):
        return Image.of(_read(value))
    if value[:5].lower() == _EMBEDDED:
        return Image.of(_embedded(value))
    if sends_addresses:
        return str(value)
    raise NotAnImage("is an address, which is sent only with prompt.image_urls: send")


def _is_path(text: str) -> bool:
    return not text.lower().startswith((_EMBEDDED, *_ADDRESSES))


def _embedded(url: str) -> bytes:
    head, comma, data = url.partition(",")
    if not comma:
        raise NotAnImage("is a data: URL without data")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(unquote_to_bytes(data), validate=True)
    except binascii.Error:
        raise NotAnImage("is a data: URL whose data is not Base64") from None


def _read(path: str) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for
                raise NotAnImage("is neither a data: URL nor a readable file")
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        raise NotAnImage("is neither a data: URL nor a readable file") from None
