"""Generation parameters: fixed values of the job, or a column's, checked against what they may be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from pipeline.config.models import ColumnReference, ParametersConfig
from pipeline.errors import ErrorKind, InvalidJob, Mistake
from pipeline.prompts.failures import PromptFailure, missing_column
from pipeline.providers import UNBOUNDED, ParameterRange, ParameterValues
from pipeline.records import MAX_INT64, ParameterValue, Row
from pipeline.surrogates import well_formed

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class ParameterReader:
    """Reads a row's parameters; `columns` are the input columns it needs. The order of parameters is always the same.
    With `needs_max_tokens` a row that leaves out max_tokens, or has less than 1, fails.

    Raises InvalidJob for a parameter the model does not document, a fixed value out of range, a missing column.
    """

    def __init__(
        self,
        parameters: ParametersConfig,
        ranges: Mapping[str, ParameterValues],
        columns: Sequence[str],
        *,
        needs_max_tokens: bool = False,
    ) -> None:
        if needs_max_tokens and isinstance(counted := ranges.get("max_tokens"), ParameterRange):
            ranges = {**ranges, "max_tokens": replace(counted, minimum=1)}
        given = {name: getattr(parameters, name) for name in UNBOUNDED}
        self._fixed: dict[str, ParameterValue] = {}
        self._from_columns: list[tuple[str, str, ParameterValues]] = []
        mistakes = []
        for name, value in given.items():
            key = f"parameters.{name}"
            if value is None:
                continue
            if name not in ranges:
                documented = ", ".join(ranges)
                mistakes.append(Mistake(f"{name} is not documented for this model; it takes {documented}", key=key))
            elif isinstance(value, ColumnReference):
                self._from_columns.append((name, value.column, ranges[name]))
                if value.column not in columns:
                    mistakes.append(missing_column(key, value.column, columns))
            else:
                fixed = read_value(value, ranges[name])
                if fixed is None:
                    mistakes.append(Mistake(f"{name} must be {ranges[name]}", key=key))
                else:
                    self._fixed[name] = fixed
        if mistakes:
            raise InvalidJob(mistakes)
        self._needed = {"max_tokens"} if needs_max_tokens else frozenset()
        self._order = [name for name in given if given[name] is not None]
        self.columns = frozenset(column for _, column, _ in self._from_columns)

    def read(self, row: Row) -> Mapping[str, ParameterValue]:
        """Return the parameters of one row; null and blank text in a column leave the parameter out.

        Raises PromptFailure(PROMPT_ERROR) for what the parameter cannot be, and for a required one that is left out.
        """
        if not self._from_columns:
            return self._fixed
        values = dict(self._fixed)
        for name, column, allowed in self._from_columns:
            value = row[column]
            if value is None or (isinstance(value, str) and not value.strip()):
                if name in self._needed:
                    message = f"{name}: column {column!r} is empty in this row, and a cost cap needs it"
                    raise PromptFailure(ErrorKind.PROMPT_ERROR, message, key=f"parameters.{name}")
                continue
            found = read_value(value, allowed)
            if found is None:
                message = f"{name}: column {column!r} holds something other than {allowed}"
                raise PromptFailure(ErrorKind.PROMPT_ERROR, message, key=f"parameters.{name}")
            values[name] = found
        return {name: values[name] for name in self._order if name in values}


def moved_seed(seed: int, steps: int, allowed: ParameterValues) -> int:
    """Return the seed so many steps on. After the largest that is allowed comes the smallest; where the endpoint has no
    range, 0 comes after the largest int64.
    """
    moved = seed + steps
    if not isinstance(allowed, ParameterRange) or allowed.maximum is None:
        smallest, largest = 0, MAX_INT64
    else:
        smallest, largest = int(allowed.minimum or 0), int(allowed.maximum)
    return moved if moved <= largest else smallest + (moved - largest - 1) % (largest - smallest + 1)


def read_value(value: Any, allowed: ParameterValues) -> ParameterValue | None:
    """Return the value as the parameter is sent, or None if it cannot be one."""
    if isinstance(allowed, ParameterRange):
        return read_number(value, allowed)
    if isinstance(value, str) and value:
        return well_formed(value)
    is_texts = isinstance(value, list | tuple) and value and all(isinstance(text, str) and text for text in value)
    return [well_formed(text) for text in value] if allowed.many and is_texts else None


def read_number(value: Any, allowed: ParameterRange) -> int | float | None:
    """Return the value as a number of the range's type (1, 1.0 and "1" are the same), or None if it is not one."""
    if isinstance(value, str):
        text = value.strip()
        # No number that is meant is longer than 400 characters.
        if len(text) > 400 or not _NUMBER.fullmatch(text):
            return None
        value = int(text) if text.lstrip("+-").isdecimal() else float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not _is_finite(value):
        return None
    if (allowed.integer and value != int(value)) or not allowed.holds(value):
        return None
    # Adding 0.0 turns -0.0 into 0.0.
    return int(value) if allowed.integer else float(value) + 0.0


def _is_finite(value: float | Decimal) -> bool:
    try:
        return math.isfinite(value)
    except (OverflowError, ValueError):  # an int beyond floats, a signalling NaN
        return False
