"""One line of JSONL: the object that it holds, or what is wrong with it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from pipeline.errors import InvalidJob
from pipeline.sources.json_columns import MAX_LEVELS
from pipeline.sources.places import Place

_TOO_DEEP = f"nested too deeply: more than {MAX_LEVELS} levels"
_ONE_OBJECT = 'each line holds one object, such as {"question": "…"}'
# An escape of a surrogate pair, half a pair (the group), or any other escape.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def parse(path: str, number: int, line: bytes) -> dict[str, object]:
    """Return the object of a line. Raises InvalidJob, with its place."""
    value = _read(path, number, line, _DECODER)
    if line.count(b"[") + line.count(b"{") > MAX_LEVELS and _levels(value) > MAX_LEVELS:
        raise Place(path, number).error(_TOO_DEEP)
    return value


def parse_again(path: str, number: int, line: bytes) -> dict[str, object]:
    """Return the object of a line that `parse` has taken, in a fifth of the time. Raises InvalidJob if it has changed.

    msgspec reads all that Python's parser reads, but for halves of surrogate pairs. It does not look for equal keys.
    """
    try:
        value = _STRICT.decode(line)
    except (msgspec.DecodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else _read(path, number, line, _KNOWN)


def _read(path: str, number: int, line: bytes, decoder: json.JSONDecoder) -> dict[str, object]:
    try:
        text = line.decode("utf-8")
        if "\\u" in text:
            # Half a surrogate pair is not text; it becomes U+FFFD, before keys are compared.
            text = _ESCAPE.sub(lambda escape: "\\ufffd" if escape[1] else escape[0], text)
        value = decoder.decode(text)
    except (ValueError, _Refused, RecursionError) as error:
        raise _refusal(Place(path, number), line, error) from error
    if isinstance(value, list):
        message = "not a JSON object but an array"
        raise Place(path, number).error(message, "write each item on a line: `jq -c '.[]'`")
    if not isinstance(value, dict):
        raise Place(path, number).error("not a JSON object", _ONE_OBJECT)
    return value


def _refusal(place: Place, line: bytes, error: Exception) -> InvalidJob:
    """Return what is wrong with a line, given the error at decoding it."""
    if isinstance(error, UnicodeDecodeError):
        return place.error(f"not UTF-8: {error.reason}", "JSON is UTF-8; convert the file")
    if isinstance(error, json.JSONDecodeError):
        spread = place.number == 1 and line.strip() in (b"[", b"{")
        hint = (
            "it is spread over lines; write each object on one: `jq -c '.[]'` or `jq -c .`" if spread else _ONE_OBJECT
        )
        return place.error(f"not JSON: {error.msg} (column {error.colno})", hint)
    if isinstance(error, _Refused):
        return place.error(str(error))
    if isinstance(error, RecursionError):
        return place.error(_TOO_DEEP)
    return place.error("an integer is too long", "write it as a string")  # Python's own limit on digits


def _levels(value: dict[str, object]) -> int:
    """Return how deep the lists and objects of a row are nested."""
    levels = 0
    within: list[Any] = [value]
    while within:
        levels += 1
        values = (item for one in within for item in (one.values() if isinstance(one, dict) else one))
        within = [item for item in values if isinstance(item, (dict, list))]
    return levels


class _Refused(Exception):
    """Why a piece of JSON is not taken."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        duplicate = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _Refused(f'the key "{duplicate}" occurs twice in one object')
    return value


def _constant(name: str) -> float:
    raise _Refused(f"{name} is not JSON; write null")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Refused("a number is beyond what a double can hold; write it as a string")
    return value


_STRICT = msgspec.json.Decoder()
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
_KNOWN = json.JSONDecoder(parse_constant=_constant, parse_float=_float)
