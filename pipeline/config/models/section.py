"""What every section of the job file has in common."""

from __future__ import annotations

import math
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from pipeline.config.reading.scalars import FilledText, WrittenNumber, read_scalar


class Section(BaseModel):
    """A mapping of the job file: no key but the fields, no value of another type."""

    # With `defer_build` a section is made ready only as part of the whole job: half of that work, at every start.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        """Bring what YAML gives into the field's type where nothing is lost: lists, integers, exact decimals.

        A section that may be left out may also be empty, as it is when all of its lines are commented out.
        """
        default = cls.model_fields[str(info.field_name)].default
        if value is None and isinstance(default, Section):
            return default
        return read_value(value, cls.model_fields[str(info.field_name)].annotation)


def read_value(value: object, annotation: Any) -> object:
    """Return what YAML gives for a field as the field's type has it, where nothing is lost by that."""
    types = _types(annotation)
    if isinstance(value, FilledText) and (str not in types or int in types):
        value = read_scalar(value.strip())
    if isinstance(value, list) and tuple in types:
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if Decimal in types:
        return Decimal(value.text if isinstance(value, WrittenNumber) and math.isfinite(value) else repr(value))
    if float in types and isinstance(value, int):
        return _as_float(value)
    return value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _types(annotation: Any) -> frozenset[Any]:
    """Return the plain types that an annotation consists of; a literal counts as str."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return frozenset().union(*(_types(part) for part in get_args(annotation)))
    return frozenset({str if origin is Literal else origin or annotation})
