"""Lone surrogates: what Python's text can hold and UTF-8 cannot.

They come from JSON escapes (`"\\ud83d"`), from environment variables that are not UTF-8, and from a few encodings.
"""

from __future__ import annotations


def has_surrogate(text: str) -> bool:
    """Return whether the text holds a surrogate, alone or in a pair, so that it cannot be UTF-8 as it stands."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def well_formed(text: str) -> str:
    """Return the text with each pair of surrogates joined, and U+FFFD for each lone one."""
    if text.isascii() or not has_surrogate(text):  # a call less for nearly all texts
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
