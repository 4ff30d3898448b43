"""Values of a row as text formats hold them: JSON, and cells that no spreadsheet runs as a formula."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

# https://owasp.org/www-community/attacks/CSV_Injection; spreadsheets look behind leading blanks too.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@]")
_NO_CELLS = (bytes, list, dict, Decimal)


def safe_cells(values: Sequence[Any]) -> list[Any]:
    """Return values as they stand in cells. A spreadsheet runs some texts as a formula; an apostrophe before them makes
    them text. Numbers that are no texts stay.
    """
    return [
        "'" + cell if isinstance(cell, str) and not isinstance(value, Decimal) and _FORMULA.match(cell) else cell
        for value, cell in zip(values, plain_cells(values), strict=True)
    ]


def plain_cells(values: Sequence[Any]) -> list[Any]:
    """Return values as they stand in cells, texts as they are: lists and structs are JSON, bytes are Base64, decimals
    have no exponent.
    """
    return [_as_text(value) if isinstance(value, _NO_CELLS) else value for value in values]


def _as_text(value: Any) -> str:
    return json_text(value) if isinstance(value, list | dict) else _plain(value)


def json_text(value: Any) -> str:
    """Return JSON of values of a row: bytes are Base64, what JSON cannot say is text, NaN and infinity are null.
    Decimals have no exponent.
    """
    try:
        return _encode(value)
    except ValueError:
        return _encode(_finite(value))


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return _base64(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


# Made once: `json.dumps` would make it anew for every row.
_encode = json.JSONEncoder(ensure_ascii=False, default=_plain, allow_nan=False).encode


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
