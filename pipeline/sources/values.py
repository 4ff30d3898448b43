"""Arrow values as Python values for templates."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.sources.nested import Fold, fold
from pipeline.sources.utf8 import texts


def python_values(array: pa.Array) -> list[Any]:
    """Return the array's values as Python's own types; as text if those cannot hold one exactly.

    Nanoseconds are the case that matters: Python's times end at microseconds, so a time with whole microseconds is a
    `datetime` (`time`, `timedelta`) and any other is text with nine decimals.
    """
    return fold(array, _PYTHON)


def _flat(array: pa.Array) -> list[Any]:
    kind = array.type
    if pa.types.is_temporal(kind) and getattr(kind, "unit", None) == "ns":
        return _nanoseconds(array)
    return _exact(array)


def _nanoseconds(array: pa.Array) -> list[Any]:
    kind = array.type
    numbers = array.view(pa.int64()).to_pylist()
    if pa.types.is_timestamp(kind):
        coarse = pa.timestamp("us", kind.tz)
    elif pa.types.is_duration(kind):
        coarse = pa.duration("us")
    else:
        coarse = pa.time64("us")
    values = _exact(array.cast(coarse, safe=False))
    return [
        value if number is None or number % 1000 == 0 else _text(pa.scalar(number, pa.int64()).cast(kind), number)
        for value, number in zip(values, numbers, strict=True)
    ]


def _text(scalar: pa.Scalar, nanoseconds: int) -> str:
    if pa.types.is_duration(scalar.type):
        sign, size = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
        return f"{sign}{size // 10**9}.{size % 10**9:09d} s"
    try:
        return str(scalar.cast(pa.string()).as_py())
    except pa.ArrowException:  # the time zone is not known here
        return f"{nanoseconds} ({scalar.type})"


def _exact(array: pa.Array) -> list[Any]:
    try:
        if pa.types.is_timestamp(array.type) and array.type.tz == "UTC":
            return _utc(array)
        values: list[Any] = array.to_pylist()
    except UnicodeDecodeError:
        return texts(array)
    except (OverflowError, ValueError):
        # Some value lies beyond Python's types (the year 300000) or its time zone is not known here.
        return [_exact_value(scalar) for scalar in array]
    return values


def _utc(array: pa.Array) -> list[Any]:
    """Return what `to_pylist` does, in a fifth of its time."""
    zone = pa.lib.string_to_tzinfo("UTC")
    values = array.cast(pa.timestamp(array.type.unit)).to_pylist()
    return [None if value is None else value.replace(tzinfo=zone) for value in values]


def _exact_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        kind = scalar.type
        number = pa.array([scalar], kind).view(pa.int32() if kind.bit_width == 32 else pa.int64())[0]
        return f"{number} ({kind})"


_PYTHON: Fold[Any] = Fold(
    null=None,
    flat=_flat,
    items=lambda items: items,
    entries=lambda entries: entries,
    fields=lambda names, values: dict(zip(names, values, strict=True)),
)
