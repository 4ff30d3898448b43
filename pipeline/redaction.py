"""What must not come back: the key and the values of fixed headers, taken out of a reply before anything keeps it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

_KEY = b"[key]"
_HEADER_VALUE = b"***"
_SHORTEST_KEY = 8
_LONGEST_DUMMY = 24
_SHORTEST_HEADER_VALUE = 6
_WORD = r"(?:[A-Z]?[a-z]{1,15}|[A-Z]{1,16})"
_DUMMY = re.compile(rf"{_WORD}(?:[\W_]{_WORD})*|\d+|[\W_]+", re.ASCII)


class Redaction:
    """Takes secrets out of replies. Safe from many threads.

    A key that might stand in an answer by chance (`is_secret`) stays, as does a header's value of less than 6
    characters.
    """

    def __init__(self, key: str | None, header_values: Sequence[str] = ()) -> None:
        keys = [key] if key is not None and is_secret(key) else []
        values = {value for value in header_values if len(value) >= _SHORTEST_HEADER_VALUE}
        # The longest first: one value may hold another.
        self._secrets = [_Secret(text, _KEY) for text in keys]
        self._secrets += [_Secret(text, _HEADER_VALUE) for text in sorted(values, key=len, reverse=True)]

    def clean(self, body: bytes) -> bytes:
        """Return the body with a mark in place of each secret, also where JSON text has it escaped."""
        for secret in self._secrets:
            body = secret.taken_out_of(body)
        return body


class _Secret:
    def __init__(self, text: str, mark: bytes) -> None:
        self._plain = text.encode()
        self._mark = mark
        self._escaped = _escaped(text)
        # ASCII's printable characters are \u0020 to \u007e.
        self._numbered = [b"\\u00%d" % digit for digit in range(2, 8)] if text.isascii() else [b"\\u00"]
        self._escapes = [b"\\" + char.encode() for char in '"/\\' if char in text]

    def taken_out_of(self, body: bytes) -> bytes:
        if self._plain in body:
            body = body.replace(self._plain, self._mark)
        # The search takes four times as long as one for plain text.
        return self._escaped.sub(self._mark, body) if self._may_be_escaped_in(body) else body

    def _may_be_escaped_in(self, body: bytes) -> bool:
        is_numbered = b"\\u00" in body and any(escape in body for escape in self._numbered)
        return is_numbered or any(escape in body for escape in self._escapes)


def is_secret(key: str) -> bool:
    """Return whether a key can be one that nobody guesses, and that stands in a text only where it was put there.

    It is none where it is shorter than 8 characters, or up to 24 that are words (`lm-studio`, `not-needed`), a number,
    or nothing but signs: such dummies are given to servers that ask for any key.
    """
    return len(key) > _LONGEST_DUMMY or (len(key) >= _SHORTEST_KEY and _DUMMY.fullmatch(key) is None)


def _escaped(text: str) -> re.Pattern[bytes]:
    """Return a pattern for the text within JSON, with any of its characters escaped, also in a nested JSON string.

    It takes a time in proportion to what is searched: it begins at no backslash but the first of a run, and steps back
    in none.
    """
    pieces = []
    for are_backslashes, chars in groupby(text, "\\".__eq__):
        if are_backslashes:
            pieces.append(rb"(?:\\++(?:u(?i:005c))?+){1,%d}+" % len(list(chars)))
        else:
            pieces += [rb"\\*+(?:%s|u(?i:%04x))" % (re.escape(char).encode(), ord(char)) for char in chars]
    return re.compile(rb"(?<!\\)" + b"".join(pieces))
