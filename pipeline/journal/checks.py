"""Checks for values that are read back from a file: by then it may contain anything."""

from __future__ import annotations

import math
import re
from typing import Any

_MOST = 2**63 - 1
_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that a date can hold
_AMOUNT = re.compile(r"[0-9]{1,20}(\.[0-9]{1,40})?(E[+-][0-9]{1,2})?")
_MAX_TEXT_LENGTH = 10_000


def is_count(value: Any) -> bool:
    """Return whether it is an integer from 0, within 64 bits."""
    return type(value) is int and 0 <= value <= _MOST


def is_number(value: Any) -> bool:
    """Return whether it is a finite number from 0."""
    return is_count(value) or (type(value) is float and math.isfinite(value) and value >= 0)


def is_moment(value: Any) -> bool:
    """Return whether it is a time that a date can show, in Unix seconds."""
    return is_number(value) and value <= _LAST_SECOND


def is_amount(value: Any) -> bool:
    """Return whether it is an amount of money as text: a decimal number without a sign, as Decimal writes it."""
    return isinstance(value, str) and _AMOUNT.fullmatch(value) is not None


def is_text(value: Any) -> bool:
    """Return whether it is a string of readable length."""
    return isinstance(value, str) and len(value) <= _MAX_TEXT_LENGTH
