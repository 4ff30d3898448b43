"""From the bytes of a body to a JSON value, within bounds, and from a value to JSON text."""

from __future__ import annotations

import encodings.utf_8_sig  # noqa: F401  # else the first reply imports it, for which no file may be free
import json
import math
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from pipeline.surrogates import well_formed

MAX_LEVELS = 1_000
"""The deepest a JSON body may be nested. (Python's own parser may give up a little earlier, which counts the same.)"""

MAX_VALUES = 1_000_000
"""The most values in a JSON body: Python takes up to some hundred bytes for each, however short its text."""

_MAX_DIGITS = 4_300
"""The longest integer that Python turns into an int (`sys.get_int_max_str_digits`)."""

# Possessive throughout, so that neither time nor memory grows with what is skipped.
_UP_TO_A_MARK = re.compile(r'(?:[^"\[{,]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"?)*+(?:[\[{,]|\Z)', re.DOTALL)
"""Strings and whatever else precedes a mark that opens or separates values, and that mark."""


class DocumentTooLarge(Exception):
    """A JSON body beyond MAX_LEVELS or MAX_VALUES."""


def decode(headers: Mapping[str, str], body: bytes) -> str:
    """Return the body as text. JSON is UTF-8, whatever charset is named; Latin-1 only where named and UTF-8 fails."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        named = next((value for name, value in headers.items() if name.lower() == "content-type"), "").lower()
        is_latin = "charset=iso-8859-1" in named or "charset=latin-1" in named or "charset=latin1" in named
        return body.decode("latin-1") if is_latin else body.decode("utf-8-sig", "replace")


def read_document(text: str) -> Any:
    """Return the JSON value of a body, or None if it is none.

    Raw control characters are accepted; NaN and Infinity, which JSON does not have, become None.

    Raises:
        DocumentTooLarge: it is nested too deeply, or holds too many values.
    """
    if len(text) > MAX_VALUES and _has_too_many_values(text):
        raise DocumentTooLarge(f"the reply holds more than {MAX_VALUES:,} values")
    try:
        document = _STRICT_DECODER.decode(text)  # in a third of the time
    except (ValueError, RecursionError):
        document = _read_any(text)
    # Each level takes a bracket, so most bodies are known to be flat without a walk.
    if len(text) > 2 * MAX_LEVELS and text.count("[") + text.count("{") > MAX_LEVELS and _levels(document) > MAX_LEVELS:
        raise _too_deep()
    return document


def _read_any(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except ValueError:
        return None
    except RecursionError:
        raise _too_deep() from None


def json_text(value: Any) -> str:
    """Return the value as compact JSON text, keys in the order they came in, null for a number that is not finite."""
    try:
        text = _ENCODER.encode(value)
    except ValueError:
        text = _ENCODER.encode(_finite(value))
    return well_formed(text)


def _has_too_many_values(text: str) -> bool:
    """Count the marks outside of texts, as far as need be."""
    if text.count("[") + text.count("{") + text.count(",") <= MAX_VALUES:
        return False
    return sum(1 for _ in islice(_UP_TO_A_MARK.finditer(text), MAX_VALUES + 2)) > MAX_VALUES + 1


def _too_deep() -> DocumentTooLarge:
    return DocumentTooLarge(f"the reply is nested more than {MAX_LEVELS:,} levels deep")


def _whole_number(digits: str) -> int | str:
    # As text, a number too long for Python is at least whole.
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


# Made once, because json.loads and json.dumps make new ones for each call with options.
_STRICT_DECODER = msgspec.json.Decoder()
_DECODER = json.JSONDecoder(strict=False, parse_int=_whole_number, parse_constant=lambda _: None)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    """Replace what 1e999 and its like are read as."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _levels(document: Any) -> int:
    levels = 0
    level = [document]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        levels += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return levels
