"""Arrow values as bytes: the same for equal values, different for different ones, and self-delimiting.

| value | bytes |
|---|---|
| null | `n` |
| true, false | `t`, `f` |
| integer of any width | `i`, decimal digits, `;` |
| float of any width | `d`, the shortest digits that give the double back, `;` (every NaN is `nan`) |
| decimal | `m`, its digits at its scale, `;` |
| text | `s`, length in bytes, `:`, UTF-8 |
| bytes | `b`, length, `:`, the bytes |
| date, time, duration | `D`, `T`, `P`, nanoseconds (a date's from 1970), `;` |
| timestamp | `Z`, nanoseconds from 1970, `;`, then its time zone as text, or null |
| month-day-nanosecond interval | `M`, three integers |
| list | `[`, the items, `]` |
| map | `(`, keys and values in turn, `)` |
| struct | `{`, each field's name as text and its value, in order of name, `}` |
| JSON list or object | `j`, length in bytes, `:`, its compact JSON, keys in order of their code points |

Any other JSON value is as in a column of its type. A dictionary-encoded value is the value, one of an extension type is
its storage; widths, units and nullability do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import binaries
from pipeline.records import canonical_json
from pipeline.sources.json_columns import ABSENT
from pipeline.sources.nested import Fold, fold

_NULL = b"n"
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY_NANOSECONDS = 86_400 * 10**9


def encoded(array: pa.Array) -> list[bytes]:
    """Return the bytes of each value. Raises TypeError at a type that no input format holds (a union)."""
    return fold(array, _BYTES)


def row_bytes(columns: Sequence[pa.Array]) -> pa.LargeBinaryArray:
    """Return the bytes of the values of each row, one behind the other. Raises as `encoded` does."""
    pieces = [piece for column in columns for piece in _pieces(column)]
    return pc.binary_join_element_wise(*pieces, _NOTHING)


def _pieces(array: pa.Array) -> list[pa.Array | pa.Scalar]:
    """Return what makes up the bytes of each value. Arrow makes those of texts and integers, many times faster."""
    kind = array.type
    if pa.types.is_integer(kind):
        pieces = [_INTEGER, array.cast(pa.large_string()).cast(pa.large_binary()), _END]
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        raw = array.cast(pa.large_binary())
        pieces = [_TEXT, pc.binary_length(raw).cast(pa.large_string()).cast(pa.large_binary()), _COLON, raw]
    else:
        return [binaries(encoded(array))]
    if not array.null_count:
        return pieces
    return [pc.fill_null(pc.binary_join_element_wise(*pieces, _NOTHING), _ONLY_NULL)]


_NOTHING, _ONLY_NULL, _INTEGER, _END, _TEXT, _COLON = binaries([b"", _NULL, b"i", b";", b"s", b":"])


def json_encoded(value: Any) -> bytes | None:
    """Return the bytes of a JSON value; None for a key that the row does not have."""
    if value is ABSENT:
        return None
    if value is None:
        return _NULL
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return _boolean(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    raw = canonical_json(value).encode()
    return b"j%d:%b" % (len(raw), raw)


def _boolean(value: bool) -> bytes:
    return b"t" if value else b"f"


def _integer(value: int) -> bytes:
    return b"i%d;" % value


def _float(value: float) -> bytes:
    return b"d%b;" % repr(float(value)).encode()


def _flat(array: pa.Array) -> list[bytes]:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return encoded(array.storage)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        try:
            return [
                _NULL if text is None else b"s%d:%b" % (len(raw := text.encode()), raw) for text in array.to_pylist()
            ]
        except UnicodeDecodeError:  # the bytes as they are: other bytes are another value
            raws = array.cast(pa.large_binary()).to_pylist()
            return [_NULL if raw is None else b"s%d:%b" % (len(raw), raw) for raw in raws]
    if pa.types.is_null(kind):
        return [_NULL] * len(array)
    if pa.types.is_boolean(kind):
        return _each(array, _boolean)
    if pa.types.is_integer(kind):
        return _each(array, _integer)
    if pa.types.is_floating(kind):
        return _each(array, _float)
    if pa.types.is_decimal(kind):
        return _each(array, lambda value: b"m%b;" % format(value, "f").encode())
    if pa.types.is_temporal(kind):
        return _temporal(array)
    if (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    ):
        return _each(array, lambda value: b"b%d:%b" % (len(value), value))
    raise TypeError(f"no canonical form for {kind}")


def _temporal(array: pa.Array) -> list[bytes]:
    kind = array.type
    if pa.types.is_interval(kind):
        return _each(array, lambda value: b"M" + b"".join(b"i%d;" % part for part in value))
    if pa.types.is_date32(kind):
        form, factor = b"D%d;", _DAY_NANOSECONDS
    elif pa.types.is_date64(kind):
        form, factor = b"D%d;", _NANOSECONDS["ms"]
    else:
        factor = _NANOSECONDS[kind.unit]
        if pa.types.is_timestamp(kind):
            zone = _NULL if kind.tz is None else _text(kind.tz)
            form = b"Z%d;" + zone.replace(b"%", b"%%")
        else:
            form = b"P%d;" if pa.types.is_duration(kind) else b"T%d;"
    numbers = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    return _each(numbers, lambda value: form % (value * factor))


def _each(array: pa.Array, form: Callable[[Any], bytes]) -> list[bytes]:
    return [_NULL if value is None else form(value) for value in array.to_pylist()]


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"s%d:%b" % (len(raw), raw)


def _fields(names: Sequence[str], values: Sequence[bytes]) -> bytes:
    return b"{%b}" % b"".join(_text(name) + value for name, value in sorted(zip(names, values, strict=True)))


_BYTES: Fold[bytes] = Fold(
    null=_NULL,
    flat=_flat,
    items=lambda items: b"[%b]" % b"".join(items),
    entries=lambda entries: b"(%b)" % b"".join(key + value for key, value in entries),
    fields=_fields,
)
