"""One JSON value out of an answer: fences and text around it are tolerated, and nothing else is mended."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

_FENCED = re.compile(r"\s*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<inside>.*?)\n?[ \t]*(?P=fence)\s*", re.DOTALL)
_OPENING = re.compile(r'\{(?=\s*["}])|\[')
"""Where an object or a list may begin: behind `{` there is a key, or the end."""
_IS_BEGUN = re.compile(r'\{\s*"|\[\s*["{\[]')
"""What is an object or a list from its first sign on, so that where it breaks off, the answer is broken."""
_SCALAR = re.compile(r'"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b')
_MOST_TRIES = 1_000


class NoValue(Exception):
    """The answer holds no JSON value, a broken one, or more than one. The message is fit for the model that gave it."""


def json_value(text: str, *, scalars: bool = False) -> Any:
    """Return the one JSON value of an answer; with `scalars` also a number, a text or a word that stands within text.

    Of a repeated key the last one counts. Raises NoValue.
    """
    try:
        return _DECODER.decode(text.strip())
    except ValueError as error:  # an integer of more digits than Python takes is one too
        whole = error
    except RecursionError:
        raise NoValue("the JSON is nested too deeply") from None
    values = _containers(text)
    if not values and scalars:
        values = list(_scalars(text))
    if len(values) == 1:
        return values[0]
    if values:
        raise NoValue(f"the answer holds {len(values)} JSON values; one is wanted")
    if not isinstance(whole, json.JSONDecodeError):
        raise NoValue("a number in the answer has too many digits")
    begins = text.lstrip()[:1] in ("{", "[")
    raise NoValue(f"the answer is no valid JSON: {whole}" if begins else "the answer holds no JSON value")


def unfenced(text: str) -> str:
    """Return the inside of a code fence where the text is nothing else, or the text as it is."""
    found = _FENCED.fullmatch(text)
    return text if found is None else found["inside"]


def _containers(text: str) -> list[Any]:
    """Return the objects and lists in the text. The time is bounded: each failure counts what it has read."""
    values: list[Any] = []
    at, tries, left = 0, _MOST_TRIES, 4 * len(text)
    while (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        try:
            value, at = _DECODER.raw_decode(text, start)
        except ValueError as error:
            if _IS_BEGUN.match(text, start):
                raise NoValue(f"the answer is no valid JSON: {error}") from None
            read = error.pos - start if isinstance(error, json.JSONDecodeError) else len(text)
            at, tries, left = start + 1, tries - 1, left - read
            if tries <= 0 or left <= 0:
                raise NoValue("the answer holds no JSON value") from None
        except RecursionError:
            raise NoValue("the JSON is nested too deeply") from None
        else:
            values.append(value)
    return values


def _scalars(text: str) -> Iterator[Any]:
    for found in _SCALAR.finditer(text):
        with suppress(ValueError):
            yield _DECODER.decode(found[0])


def _refuse_constant(word: str) -> NoReturn:
    raise NoValue(f"{word} is no JSON value")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
