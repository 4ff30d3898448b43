"""Unquoted scalars by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), their text kept.

`no` is text, `0123` is 123, `1e-3` is 0.001 and `1_000` is text.
"""

from __future__ import annotations

import re

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")

_MAX_DIGITS = 400
"""No number that is meant has more; int() itself refuses from 4,301 digits on."""


class WrittenNumber(float):
    """A float that keeps the text it was written as, so that money can be read exactly."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        """Make the number that a scalar of the core schema means."""
        number = super().__new__(cls, text.replace(".inf", "inf").replace(".nan", "nan"))
        number.text = text
        return number


class FilledText(str):
    """An unquoted scalar with variables, or a variable alone, filled in: text for a field of text, for any other read
    again as a scalar.
    """

    __slots__ = ()


def read_scalar(text: str) -> bool | int | float | str | None:
    """Return the value of an unquoted scalar; a float comes as WrittenNumber."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if len(text) <= _MAX_DIGITS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OCTAL.fullmatch(text):
            return int(text[2:], 8)
        if _HEXADECIMAL.fullmatch(text):
            return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return WrittenNumber(text)
    if _INFINITE.fullmatch(text) or _NOT_A_NUMBER.fullmatch(text):
        return WrittenNumber(text.lower())
    return text
