"""Row values as text that can be sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

MAX_CHARACTERS = 64 * 1024 * 1024
"""The most characters one text may have, rendered or on the way there."""

MAX_ITEMS = 1_000_000
"""The most items a list may have, nested ones included, where it is made or turned into text."""

_SCALARS = (bool, int, float, Decimal, date, time, timedelta, UUID)


class TemplateError(Exception):
    """A template asked for what cannot be. The message is the program's own and holds nothing of the row."""


class TooMuch(TemplateError):
    """A template went beyond a bound."""


class PrintsNull(TemplateError):
    """A template prints a null: the prompt would have a hole, or the word `None`, where a value was meant."""

    def __init__(self) -> None:
        super().__init__("prints a null")


def scalar_text(value: object) -> str | None:
    """Return the text of a single value: null is empty, bytes are UTF-8. None if the value is not a single one."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, _SCALARS):
        return str(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def value_text(value: object) -> str:
    """Return the text of any value that a template can print.

    Raises PrintsNull for null and for a list or mapping that holds one, TooMuch for a list beyond the bounds, and
    TemplateError for what has no text of its own (a macro that is not called, an iterator): Python would write an
    address, which differs from run to run.
    """
    text = None if value is None else scalar_text(value)
    if text is not None:
        return text
    if not isinstance(value, (list, tuple, Mapping, type(None))):
        raise TemplateError(
            "writes what is not a value: a method without (), or a sequence without `| join` or `| list`"
        )
    check_value(value, allows_null=False)
    return str(value)


def check_value(value: object, *, allows_null: bool) -> None:
    """Raise TooMuch if a nested value would be too long as text (a small one can hold the same list many times).

    Raises TemplateError if something in it is not a value of a row, and PrintsNull for a null unless they are allowed.
    """
    waiting: list[Any] = [value]
    items = characters = 0
    while waiting:
        item = waiting.pop()
        items += 1
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
        elif isinstance(item, Mapping):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif item is None:
            if not allows_null:
                raise PrintsNull
        elif scalar_text(item) is None:
            raise TemplateError("writes a list of what are not values, or are undefined")
        if characters > MAX_CHARACTERS or items + len(waiting) > MAX_ITEMS:
            raise TooMuch(f"makes text of a list of more than {MAX_ITEMS:,} items or {MAX_CHARACTERS:,} characters")


def holds_null(value: object) -> bool:
    """Return whether a value of a row is null, or has a null in it."""
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if item is None:
            return True
        if isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
    return False


def is_blank(text: str) -> bool:
    """Return whether the text has nothing but whitespace."""
    return not text or text.isspace()
