"""The keys of rows: a number for each row, by which equal ids are found without the ids in memory.

The key of a row with an id is made of the id, in 8 bytes: equal ids have equal keys, and other ids nearly always other
keys. The key of a row without one is its content key, in 16 bytes.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.journal.files import KEYS_NAME

Keys = npt.NDArray[np.uint64]
"""One row of numbers for each row of the input; the first number alone tells most rows apart."""

KEY_TYPE = np.dtype("<u8")
_PRIME = 2**64 - 59
_KEYS_AT_ONCE = 2**16


def keys_of_ids(ids: Sequence[str]) -> Keys:
    """Return the keys of ids, in an array of one column: each is its bytes as one number, modulo a prime."""
    numbers = [int.from_bytes(text.encode(), "little") % _PRIME for text in ids]
    return np.array(numbers, KEY_TYPE).reshape(-1, 1)


def keys_of_contents(digests: bytes) -> Keys:
    """Return content keys (16 bytes each) as numbers, in an array of two columns."""
    return np.frombuffer(digests, KEY_TYPE).reshape(-1, 2)


class KeyFile:
    """The keys of all rows on disk: from byte `start` of a file on, `count` of them, of `width` numbers each."""

    def __init__(self, descriptor: int, start: int, count: int, width: int) -> None:
        """Take over a file descriptor, which is closed with the last reference to this."""
        self._descriptor, self._start = descriptor, start
        self.count, self.width = count, width
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def create(cls, directory: Path, width: int) -> KeyFile:
        """Return an empty one in a file without a name, which takes no room once it is closed. Raises OSError."""
        path = directory / KEYS_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        path.unlink()
        return cls(descriptor, 0, 0, width)

    def append(self, keys: Keys) -> None:
        """Write the keys of further rows. Raises OSError."""
        left = keys.tobytes()
        place = self._start + self.count * self.width * KEY_TYPE.itemsize
        while left:
            written = os.pwrite(self._descriptor, left, place)
            left, place = left[written:], place + written
        self.count += len(keys)

    def read(self, first: int, stop: int) -> Keys:
        """Return the keys of the rows from `first` to before `stop`. Raises OSError."""
        row_bytes = self.width * KEY_TYPE.itemsize
        wanted = (stop - first) * row_bytes
        raw = os.pread(self._descriptor, wanted, self._start + first * row_bytes)
        if len(raw) < wanted:
            raise OSError("the keys of the rows end too early")
        return np.frombuffer(raw, KEY_TYPE).reshape(-1, self.width)

    def parts(self, first: int = 0, stop: int | None = None) -> Iterator[Keys]:
        """Yield the keys of the rows from `first` to before `stop`, some at a time. Raises OSError."""
        stop = self.count if stop is None else stop
        for start in range(first, stop, _KEYS_AT_ONCE):
            yield self.read(start, min(stop, start + _KEYS_AT_ONCE))


def repeated_numbers(keys: KeyFile) -> npt.NDArray[np.uint64]:
    """Return the first numbers that several keys have, in ascending order. Takes 8 bytes a row meanwhile."""
    numbers = np.empty(keys.count, KEY_TYPE)
    for part, first in zip(keys.parts(), range(0, keys.count, _KEYS_AT_ONCE), strict=True):
        numbers[first : first + len(part)] = part[:, 0]
    numbers.sort()
    found = [np.zeros(0, KEY_TYPE)]
    for first in range(0, keys.count - 1, _KEYS_AT_ONCE):
        part = numbers[first : first + _KEYS_AT_ONCE + 1]
        found.append(part[1:][part[1:] == part[:-1]])
    return np.unique(np.concatenate(found))


def occurrences(keys: KeyFile) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return which rows have the key of an earlier row, in ascending order, and for the how manieth time it occurs."""
    twice = repeated_numbers(keys)
    if not len(twice):
        return np.zeros(0, np.uint32), np.zeros(0, np.uint32)
    rows, found = [], []
    for part, first in zip(keys.parts(), range(0, keys.count, _KEYS_AT_ONCE), strict=True):
        at = np.flatnonzero(np.isin(part[:, 0], twice))
        rows.append(at + first)
        found.append(part[at])
    positions, same = np.concatenate(rows), np.concatenate(found)
    order = np.lexsort((positions, *same.T))
    positions, same = positions[order], same[order]
    begins = np.flatnonzero(np.r_[True, (same[1:] != same[:-1]).any(axis=1)])
    numbers = np.arange(len(positions)) - np.repeat(begins, np.diff(np.r_[begins, len(positions)])) + 1
    later = numbers > 1
    order = np.argsort(positions[later])
    return positions[later][order].astype(np.uint32), numbers[later][order].astype(np.uint32)
