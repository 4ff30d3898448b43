"""Hashes of texts as numbers, many at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def text_hashes(texts: Iterable[str], purpose: bytes = b"") -> npt.NDArray[np.uint64]:
    """Return the 64-bit BLAKE2b of the UTF-8 of each text, personalized with `purpose`, as a number."""
    begin = hashlib.blake2b(digest_size=8, person=purpose).copy  # a third of what a new one takes
    digests = []
    for text in texts:
        hashed = begin()
        hashed.update(text.encode("utf-8", "surrogatepass"))
        digests.append(hashed.digest())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
