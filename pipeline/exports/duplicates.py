"""Rows that say the same as one before: to the letter, or nearly."""

from __future__ import annotations

import hashlib
from typing import Protocol

from pipeline.errors import InvalidInput

_PERMUTATIONS, _BANDS, _SEED = 128, 16, 7
_SIMILAR = 0.8
_WORDS = 3


class Duplicates(Protocol):
    """Tells rows that were there before from new ones."""

    def is_known(self, prompt: str, answer: str) -> bool:
        """Return whether a row like this one came before; else remember it."""


class Exact:
    """The same prompt and the same answer, by a hash of 16 bytes."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def is_known(self, prompt: str, answer: str) -> bool:
        """Return whether this pair came before; else remember it."""
        key = hashlib.blake2b(_pair(prompt, answer), digest_size=16).digest()
        known = key in self._known
        self._known.add(key)
        return known


class Near:
    """Prompt and answer that share 80% of their runs of three words with those of one before, as MinHash estimates.

    Raises InvalidInput without the extra `near`.
    """

    def __init__(self) -> None:
        try:
            from rensa import RMinHash, RMinHashLSH
        except ImportError:
            raise InvalidInput(
                "near duplicates need the package rensa: `pip install 'llm-batch-pipeline[near]'` brings it"
            ) from None
        self._hash = RMinHash
        self._index = RMinHashLSH(_SIMILAR, _PERMUTATIONS, _BANDS)
        self._kept: list[RMinHash] = []

    def is_known(self, prompt: str, answer: str) -> bool:
        """Return whether a row like this one came before; else remember it."""
        found = self._hash(_PERMUTATIONS, _SEED)
        found.update(_shingles(f"{prompt}\n{answer}"))
        if any(found.jaccard(self._kept[number]) >= _SIMILAR for number in self._index.query(found)):
            return True
        self._index.insert(len(self._kept), found)
        self._kept.append(found)
        return False


def pair_hash(prompt: str, answer: str) -> int:
    """Return 64 bits that differ for nearly all pairs: among a million, two are the same once in 37 million cases."""
    return int.from_bytes(hashlib.blake2b(_pair(prompt, answer), digest_size=8).digest(), "big")


def _pair(prompt: str, answer: str) -> bytes:
    raw = prompt.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(raw), raw + answer.encode("utf-8", "surrogatepass"))


def _shingles(text: str) -> list[str]:
    """Return every run of three words, or the whole text where it is shorter."""
    words = text.casefold().split()
    if len(words) < _WORDS:
        return [" ".join(words)]
    return list(map(" ".join, zip(*(words[start:] for start in range(_WORDS)), strict=False)))
