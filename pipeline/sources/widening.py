"""The type that holds every value of two types which differ only in how values are stored."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

_UNITS = ("s", "ms", "us", "ns")
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}

Match = Callable[[pa.DataType], bool]
_TEXTS: tuple[Match, ...] = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES: tuple[Match, ...] = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_LISTS: tuple[Match, ...] = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that both are read as; None if they hold different things.

    A value reads the same in the wider type: as text, in a content key, and in Python. So integers and floats, decimals
    of two scales, time zones, and structs with other fields are different.
    """
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_dictionary(one) or pa.types.is_dictionary(other):
        return wider(_decoded(one), _decoded(other))
    if isinstance(one, pa.BaseExtensionType) or isinstance(other, pa.BaseExtensionType):
        return None
    if _both(_TEXTS, one, other):
        return pa.large_string()
    if _both(_BYTES, one, other):
        return pa.large_binary()
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        return _wider_integer(one, other)
    if pa.types.is_floating(one) and pa.types.is_floating(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    if pa.types.is_decimal(one) and pa.types.is_decimal(other) and one.scale == other.scale:
        return max(one, other, key=lambda kind: kind.precision)
    if pa.types.is_temporal(one) and pa.types.is_temporal(other):
        return _finer(one, other)
    return _wider_nested(one, other)


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _both(family: tuple[Match, ...], one: pa.DataType, other: pa.DataType) -> bool:
    return any(match(one) for match in family) and any(match(other) for match in family)


def _wider_integer(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if pa.types.is_signed_integer(one) == pa.types.is_signed_integer(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    signed, unsigned = (one, other) if pa.types.is_signed_integer(one) else (other, one)
    return _SIGNED.get(max(signed.bit_width, 2 * unsigned.bit_width))


def _finer(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if pa.types.is_date(one) and pa.types.is_date(other):
        return pa.date64()
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and one.tz == other.tz:
        return pa.timestamp(_finer_unit(one, other), one.tz)
    if pa.types.is_duration(one) and pa.types.is_duration(other):
        return pa.duration(_finer_unit(one, other))
    if pa.types.is_time(one) and pa.types.is_time(other):
        unit = _finer_unit(one, other)
        return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    return None


def _finer_unit(one: pa.DataType, other: pa.DataType) -> str:
    return _UNITS[max(_UNITS.index(one.unit), _UNITS.index(other.unit))]


def _wider_nested(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if _both(_LISTS, one, other):
        item = wider(one.value_type, other.value_type)
        return None if item is None else pa.large_list(one.value_field.with_type(item).with_nullable(True))
    if pa.types.is_map(one) and pa.types.is_map(other):
        key, item = wider(one.key_type, other.key_type), wider(one.item_type, other.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        pairs = list(zip(one, other, strict=False))
        if len(one) != len(other) or any(mine.name != theirs.name for mine, theirs in pairs):
            return None
        kinds = [wider(mine.type, theirs.type) for mine, theirs in pairs]
        if None in kinds:
            return None
        return pa.struct(
            [mine.with_type(kind).with_nullable(True) for (mine, _), kind in zip(pairs, kinds, strict=True)]
        )
    return None
