"""The search for intact records in the bytes of a damaged journal, which relies neither on SQLite nor on the file's
structure.

A record begins with a few bytes that name the type and length of each column
(https://www.sqlite.org/fileformat2.html#record_format). Here these bytes cannot occur in JSON text, so they show where
a record begins, and its own checksum shows whether it is intact. Page headers, cell pointers, frame headers and the
tree may be damaged. Only a record that is longer than a page depends on the chain of its further pages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from pipeline.journal.database import PAGE_BYTES, meta_checksum
from pipeline.journal.events import checksum
from pipeline.journal.files import DATABASE_NAME, LOG_NAME

_CHUNK_BYTES = 2**20
# How much of a record may lie before and after the place where its head is found, in one piece.
_BYTES_BEFORE, _BYTES_AFTER = 16, 2 * PAGE_BYTES
# https://www.sqlite.org/fileformat2.html#walformat
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
# https://www.sqlite.org/fileformat2.html#b_tree_pages: how much of a record a page holds, by the kind of tree.
_MAX_IN_TABLE = PAGE_BYTES - 35
_MAX_IN_INDEX = (PAGE_BYTES - 12) * 64 // 255 - 23
_MIN_IN_PAGE = (PAGE_BYTES - 12) * 32 // 255 - 23
_BYTES_PER_LINK = 4
_BYTES_PER_LATER_PAGE = PAGE_BYTES - _BYTES_PER_LINK
_SPARE_STEPS = 2_000

_LENGTH = rb"((?:[\x81-\xff][\x80-\xff]{0,3})?[\x00-\x7f])"
_INTEGER = rb"([\x01-\x05\x08\x09])"
_BYTES_OF_INTEGER = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 8: 0, 9: 0}
_NUMBERED = re.compile(rb"\x00" + _LENGTH + _INTEGER + rb"(?=\[)", re.DOTALL)
"""The head of a row of `events` or `claims`, but for its first byte: a number that is kept elsewhere, a blob that is a
JSON list, a checksum."""
_NAMED = re.compile(rb"([\x15\x19\x1d])" + _LENGTH + _INTEGER + rb"(identity|totals|settings|runs)", re.DOTALL)
"""The head of a row of `meta`, likewise: a name of four, six or eight letters, a text, a checksum."""


class Place(NamedTuple):
    """Where a record's head is: in the database (0) or in the log (1), and at which byte."""

    file: int
    at: int


class NumberedRow(Struct, frozen=True):
    """An intact row of `events` or `claims`."""

    number: int
    packed: bytes
    place: Place


class MetaRow(Struct, frozen=True):
    """An intact row of `meta`."""

    name: str
    value: str


class Carver:
    """The database and the log of a journal, those that exist, open for reading. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        self._files: list[int | None] = []
        self._sizes: list[int] = []
        self._frames: dict[int, list[int]] = {}
        for name in (DATABASE_NAME, LOG_NAME):
            try:
                file = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._files.append(None)
                self._sizes.append(0)
            else:
                self._files.append(file)
                self._sizes.append(os.fstat(file).st_size)
        for at in range(_LOG_HEADER_BYTES, self._sizes[1], _FRAME_HEADER_BYTES + PAGE_BYTES):
            page = int.from_bytes(self._read(1, at, 4), "big")
            self._frames.setdefault(page, []).append(at + _FRAME_HEADER_BYTES)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            if file is not None:
                os.close(file)

    def records(self) -> Iterator[NumberedRow | MetaRow]:
        """Yield every intact record, as often as it is found.

        First come those of the database, since what was moved there had been committed, then those of the log in its
        order.
        """
        for file, size in enumerate(self._sizes):
            for start in range(0, size, _CHUNK_BYTES):
                before = min(start, _BYTES_BEFORE)
                data = self._read(file, start - before, before + _CHUNK_BYTES + _BYTES_AFTER)
                for found in _NUMBERED.finditer(data):
                    if before <= found.start() < before + _CHUNK_BYTES and found.start():
                        numbered = self._numbered(data, found, Place(file, start - before + found.start()))
                        if numbered is not None:
                            yield numbered
                for found in _NAMED.finditer(data):
                    if before <= found.start() < before + _CHUNK_BYTES and found.start():
                        named = self._named(data, found)
                        if named is not None:
                            yield named

    def packed(self, place: Place) -> bytes:
        """Return the packed event or claim at a place where one was found. Raises OSError if it is no longer there."""
        before = min(place.at, _BYTES_BEFORE)
        data = self._read(place.file, place.at - before, before + _BYTES_AFTER)
        found = _NUMBERED.match(data, before)
        record = self._numbered(data, found, place) if found else None
        if record is None:
            raise OSError(f"the record at byte {place.at} changed while it was read")
        return record.packed

    # ---- one record

    def _numbered(self, data: bytes, found: re.Match[bytes], place: Place) -> NumberedRow | None:
        blob = (_varint(found[1]) - 12) // 2
        integer = _BYTES_OF_INTEGER[found[2][0]]
        head = found.start() - 1
        if data[head] != found.end() - head or blob < 0:
            return None
        number = _varint_before(data, head)
        for values in self._payloads(data, head, found.end(), blob + integer, _MAX_IN_TABLE):
            packed = values[:blob]
            if checksum(number, packed) == _integer(found[2][0], values[blob:]):
                return NumberedRow(number, packed, place)
        return None

    def _named(self, data: bytes, found: re.Match[bytes]) -> MetaRow | None:
        name, text = len(found[4]), (_varint(found[2]) - 13) // 2
        integer = _BYTES_OF_INTEGER[found[3][0]]
        head, end = found.start() - 1, found.end() - name
        if data[head] != end - head or text < 0 or found[1][0] != 2 * name + 13:
            return None
        for values in self._payloads(data, head, end, name + text + integer, _MAX_IN_INDEX):
            label, value = found[4].decode(), values[name : name + text].decode("utf-8", "replace")
            if meta_checksum(label, value) == _integer(found[3][0], values[name + text :]):
                return MetaRow(label, value)
        return None

    def _payloads(self, data: bytes, head: int, start: int, size: int, max_in_page: int) -> Iterator[bytes]:
        """Yield the possible values of a record of `size` bytes whose head is at `head` and whose values begin at
        `start`.

        There is one reading for each way in which its pages can be combined.
        """
        if size > sum(self._sizes):
            return
        total = start - head + size
        local = total
        if total > max_in_page:
            local = _MIN_IN_PAGE + (total - _MIN_IN_PAGE) % _BYTES_PER_LATER_PAGE
            local = local if local <= max_in_page else _MIN_IN_PAGE
        end = head + local
        if local == total:
            if end <= len(data):
                yield data[start:end]
        elif end + _BYTES_PER_LINK <= len(data):
            first = int.from_bytes(data[end : end + _BYTES_PER_LINK], "big")
            for rest in self._chains(first, total - local):
                yield data[start:end] + rest

    def _chains(self, first: int, size: int) -> Iterator[bytes]:
        """Yield the possible contents of the chain of pages that begins with `first`.

        These are the newest image of each page, the oldest of each, and other combinations in a bounded number of
        steps.
        """
        for step in (1, -1):
            parts: list[bytes] = []
            images = [(0, image) for image in self._images(first)[::step]]
            for _ in range(size // _BYTES_PER_LATER_PAGE + 1 + _SPARE_STEPS):
                if not images:
                    break
                depth, image = images.pop()
                del parts[depth:]
                parts.append(image[_BYTES_PER_LINK:])
                if len(parts) * _BYTES_PER_LATER_PAGE >= size:
                    yield b"".join(parts)[:size]
                else:
                    following = int.from_bytes(image[:_BYTES_PER_LINK], "big")
                    images += [(depth + 1, image) for image in self._images(following)[::step]]

    def _images(self, page: int) -> list[bytes]:
        """Return the different images of a page, the newest last. Missing bytes of an incomplete page are zeros."""
        images: list[bytes] = []
        at = (page - 1) * PAGE_BYTES
        places = [Place(0, at)] if 0 <= at < self._sizes[0] else []
        for place in (*places, *(Place(1, at) for at in self._frames.get(page, ()))):
            image = self._read(*place, PAGE_BYTES).ljust(PAGE_BYTES, b"\0")
            if image not in images:
                images.append(image)
        return images

    def _read(self, file: int, at: int, size: int) -> bytes:
        opened = self._files[file]
        return b"" if opened is None else os.pread(opened, size, at)


def _varint(text: bytes) -> int:
    """Return a varint of up to eight bytes; see https://www.sqlite.org/fileformat2.html#varint."""
    value = 0
    for byte in text:
        value = value << 7 | byte & 0x7F
    return value


def _varint_before(data: bytes, end: int) -> int:
    """Return the number that ends before `end`. The byte before it ends a number too, so it shows where this one
    begins.
    """
    start = end - 1
    while start > max(0, end - 8) and data[start - 1] & 0x80:
        start -= 1
    return _varint(data[start:end])


def _integer(kind: int, text: bytes) -> int:
    """Return the integer of a serial type: types 8 and 9 are 0 and 1 without any bytes."""
    return kind - 8 if kind >= 8 else int.from_bytes(text, "big", signed=True)
