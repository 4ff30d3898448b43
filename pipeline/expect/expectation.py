"""What an answer has to be: one of three kinds, each with the type of what is read out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from pipeline.expect import matching, quick, schemas
from pipeline.expect.extract import NoValue, json_value, unfenced
from pipeline.expect.shapes import TEXT, Unfit, shape_of
from pipeline.records import JsonObject

_MOST_WORDS = 600
_MOST_PROBLEMS = 3


class Invalid(Exception):
    """An answer that is not what it has to be. The message says what is wrong and where."""


class Expectation(Protocol):
    """What an answer has to be. Safe to use from many threads."""

    @property
    def type(self) -> pa.DataType:
        """The type of the column `parsed`."""

    def read(self, text: str) -> Any:
        """Return the value of an answer, as the column holds it. Raises Invalid."""


class SchemaExpectation:
    """One JSON value that is valid under a schema."""

    def __init__(self, schema: JsonObject) -> None:
        self._validator = schemas.make_validator(schema)
        self._quick = quick.compiled(schema) if schemas.is_current_draft(schema) else None
        self._shape = shape_of(schema)
        self._takes_scalars = not pa.types.is_nested(self._shape.type)

    @property
    def type(self) -> pa.DataType:
        """The type of the column `parsed`."""
        return self._shape.type

    def read(self, text: str) -> Any:
        """Return the value of an answer, as the column holds it. Raises Invalid."""
        try:
            value = json_value(text, scalars=self._takes_scalars)
            if self._quick is None or not self._quick(value):
                self._validate(value)
            return self._shape.cell(value)
        except (NoValue, Unfit) as error:
            raise Invalid(_short(str(error))) from None
        except matching.TooSlow:
            raise Invalid(f"a pattern of the schema takes more than {matching.SECONDS:g} s for this answer") from None
        except RecursionError:
            raise Invalid("the JSON is nested too deeply") from None

    def _validate(self, value: Any) -> None:
        problems = []
        for error in self._validator.iter_errors(value):
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
            problems.append(f"${place}: {error.message}")
            if len(problems) == _MOST_PROBLEMS:
                break
        if problems:
            raise Invalid(_short("; ".join(problems)))


class ChoiceExpectation:
    """One of some texts, white space around it aside; case counts."""

    type: pa.DataType = TEXT.type

    def __init__(self, choices: Sequence[str]) -> None:
        self._choices = tuple(choices)
        self._by_text = {choice.strip(): choice for choice in self._choices}

    def read(self, text: str) -> str:
        """Return the choice. One in JSON's quotes is taken too: so a server that is given a schema writes it."""
        said = unfenced(text).strip()
        found = self._by_text.get(said)
        if found is None and said.startswith('"'):
            try:
                value = json.loads(said)
            except ValueError:
                value = None
            found = self._by_text.get(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise Invalid(_short(f"the answer is none of {json.dumps(self._choices, ensure_ascii=False)}"))
        return found


class PatternExpectation:
    """A text in which a pattern of Python's `re` is found. Named groups make a struct of texts."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._groups = tuple(re.compile(pattern).groupindex)

    @property
    def type(self) -> pa.DataType:
        """The type of the column `parsed`."""
        return pa.struct([pa.field(name, TEXT.type) for name in self._groups]) if self._groups else TEXT.type

    def read(self, text: str) -> Any:
        """Return the match, or its named groups. Raises Invalid, also where the pattern takes too long."""
        try:
            found = matching.MATCHER.search(self._pattern, unfenced(text))
        except matching.TooSlow:
            raise Invalid(f"the pattern takes more than {matching.SECONDS:g} s for this answer") from None
        if found is None:
            raise Invalid(_short(f"the answer does not match the pattern {self._pattern}"))
        whole, groups = found
        return groups if self._groups else whole


def _short(words: str) -> str:
    return words if len(words) <= _MOST_WORDS else f"{words[: _MOST_WORDS - 1]}…"
