"""Operations of templates whose result can be far longer than what goes in, each refused before it gets there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import update_wrapper
from typing import Any

from jinja2 import Undefined, UndefinedError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.filters import make_attrgetter
from jinja2.utils import pass_environment

from pipeline.prompts.texts import (
    MAX_CHARACTERS,
    MAX_ITEMS,
    TemplateError,
    TooMuch,
    check_value,
    scalar_text,
    value_text,
)

MAX_WIDTH = 10_000
"""The largest width, precision, indent or number of columns that can be asked for."""

MAX_BITS = 16_384
"""The longest integer that can be computed."""

_MAX_DECIMAL = 10**76
"""The largest decimal that an input can hold, rounded up."""

_NUMBER = re.compile(r"\d+")
_PERCENT = re.compile(r"%%|%(?P<key>\([^()]*\))?[-+ #0]*(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?")


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise TooMuch if `left operator right` would be too long; operators are `+`, `*`, `**` and `%`."""
    if operator == "%":
        if isinstance(left, str):
            check_percent(left, right)
    elif isinstance(left, int) and isinstance(right, int):
        _check_whole_numbers(operator, left, right)
    elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        _check_length(left, len(left) + len(right))
    elif operator == "*":
        for sequence, times in ((left, right), (right, left)):
            if hasattr(sequence, "__len__") and isinstance(times, int):
                _check_length(sequence, len(sequence) * max(times, 0))


def check_percent(text: str, values: Any) -> None:
    """Raise TooMuch if `text % values` asks for a huge width or would be too long, and TemplateError where it prints
    a null or what is not a value.
    """
    if re.search(r"%\([^()]*\(", text):
        raise TooMuch("has a nested key in a % format")
    fields = [match for match in _PERCENT.finditer(text) if match[0] != "%%"]
    for field in fields:
        for size in (field["width"], field["precision"]):
            if size == "*":
                raise TooMuch("takes a width from a value in a % format")
            check_widths(size or "")
    if isinstance(values, Mapping):
        printed = [values.get(field["key"][1:-1], "") if field["key"] else values for field in fields]
    else:
        printed = list(values) if isinstance(values, tuple) else [values]
    _check_characters(len(text) + len(fields) * max((len(_text(value)) for value in printed), default=0))


def check_format(text: str, values: Sequence[Any]) -> None:
    """Raise TooMuch if `text.format(values)` would be too long; widths and nulls are checked as they come up."""
    _check_characters(len(text) + text.count("{") * max(map(_length, values), default=0))


def check_printed(value: Any) -> None:
    """Raise TemplateError for what cannot be printed: a null, or something that is not a value of a row."""
    _text(value)


def check_widths(specification: str) -> None:
    """Raise TooMuch if a format specification holds a number beyond MAX_WIDTH."""
    if any(len(digits) > len(str(MAX_WIDTH)) or int(digits) > MAX_WIDTH for digits in _NUMBER.findall(specification)):
        raise TooMuch(f"asks for a width beyond {MAX_WIDTH:,}")


def joined(parts: Iterable[str]) -> str:
    """Return the rendered pieces as one text."""
    pieces = list(parts)
    _check_characters(sum(map(len, pieces)))
    return "".join(pieces)


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, before, after = _text(value), _text(old), _text(new)
    most = text.count(before) if count is None or count < 0 else min(count, text.count(before))
    _check_characters(len(text) + most * len(after))
    return text.replace(before, after, -1 if count is None else count)


@pass_environment
def _join(environment: Any, value: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
    items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    texts = [_text(item) for item in items]
    separator = _text(d)
    _check_characters(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _join_method(separator: str, value: Iterable[Any]) -> str:
    texts = [_text(item) for item in value]
    _check_characters(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    text = _text(value)
    _check_characters(len(text) + (len(text.splitlines()) + 1) * (len(width) if isinstance(width, str) else width))
    return str(JINJA_FILTERS["indent"](text, width, first, blank))


def _center(value: Any, width: int = 80) -> str:
    _check_width(width)
    return _text(value).center(width)


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TypeError("format takes values by position or by name, not both")
    text = _text(value)
    check_percent(text, kwargs or args)
    return text % (kwargs or args)


def _batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> list[Any]:
    _check_width(linecount)
    return list(JINJA_FILTERS["batch"](value, linecount, fill_with))


def _slice(value: Iterable[Any], slices: int, fill_with: Any = None) -> list[Any]:
    _check_width(slices)
    return list(JINJA_FILTERS["slice"](list(value), slices, fill_with))


def _round(value: float, precision: int = 0, method: str = "common") -> Any:
    _check_width(precision)
    return JINJA_FILTERS["round"](value, precision, method)


@pass_environment
def _sum(environment: Any, iterable: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    # Lists added up one by one are copied each time.
    if not isinstance(start, (int, float, Decimal, timedelta)):
        raise TemplateError("adds up what are not numbers; `| join` is for text")
    return JINJA_FILTERS["sum"](environment, iterable, attribute, start)


def _tojson(value: Any, indent: int | None = None) -> str:
    """Return JSON for a prompt: sorted keys, nothing escaped for HTML. A null stays, since JSON has a word for it."""
    check_value(value, allows_null=True)
    _check_width(indent or 0)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent, default=_json_value)


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) <= _MAX_DECIMAL else float(value)
    return scalar_text(value)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, Undefined) else value_text(value)


def _check_whole_numbers(operator: str, left: int, right: int) -> None:
    bits = abs(left).bit_length()
    if (operator == "**" and bits > 1 and bits * right > MAX_BITS) or bits + abs(right).bit_length() > MAX_BITS:
        raise TooMuch(f"computes a number of more than {MAX_BITS:,} bits")


def _length(value: Any) -> int:
    try:
        return len(_text(value))
    except (TemplateError, UndefinedError) as error:
        if isinstance(error, TooMuch):
            raise
        return 0  # it need not be printed; where it is, that fails


def _check_length(sequence: Any, length: int) -> None:
    if isinstance(sequence, (str, bytes)):
        _check_characters(length)
    elif length > MAX_ITEMS:
        raise TooMuch(f"makes a list of more than {MAX_ITEMS:,} items")


def _check_characters(length: int) -> None:
    if length > MAX_CHARACTERS:
        raise TooMuch(f"makes a text of more than {MAX_CHARACTERS:,} characters")


def _check_width(width: int) -> None:
    if abs(width) > MAX_WIDTH:
        raise TooMuch(f"asks for a width beyond {MAX_WIDTH:,}")


def _of_text(name: str) -> Callable[..., Any]:
    """Return Jinja2's filter of this name, with the text of its value as `value_text` writes it."""
    function = JINJA_FILTERS[name]

    def filtered(value: Any, *args: Any, **kwargs: Any) -> Any:
        return function(_text(value), *args, **kwargs)

    return update_wrapper(filtered, function)


@pass_environment
def _truncate(environment: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
    return JINJA_FILTERS["truncate"](environment, _text(value), *args, **kwargs)


def _urlencode(value: Any) -> str:
    pairs = value if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable) else list(value)
    _text(pairs)
    return str(JINJA_FILTERS["urlencode"](pairs))


_TEXT_FILTERS = ("capitalize", "e", "escape", "forceescape", "lower", "safe", "title", "trim", "upper", "wordcount")

FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: _of_text(name) for name in _TEXT_FILTERS},
    "batch": _batch,
    "center": _center,
    "format": _format,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "slice": _slice,
    "string": _text,
    "sum": _sum,
    "tojson": _tojson,
    "truncate": _truncate,
    "urlencode": _urlencode,
}
"""Jinja2's filters of these names, bounded where they can make text grow, and with `value_text` for a text."""

METHODS: Mapping[str, Callable[..., str]] = {"join": _join_method, "replace": _replace}
"""Bounded forms of text's methods of these names; `format` is the environment's, whose rules its fields follow."""
