"""The values that a key of the job file may have, apart from paths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from pipeline.config.models.section import Section
from pipeline.records import JsonObject

PRICE_DECIMALS = 6
"""A price of this many decimals per million tokens gives costs that fit the 12 decimals of `cost_usd`."""

# Blanks keep these words apart from any key where pydantic puts them into the place of an error.
JOB_TAG = "another job"
NUMBER_TAG, COLUMN_TAG, WORD_TAG, ONE_TAG, MANY_TAG = "a number", "a column", "a word", "one path", "many paths"
TEXT_TAG, TEXTS_TAG, LIST_TAG, NAMED_TAG = "a text", "many texts", "a list", "named values"
JOB_TAG = "another job"
TAGS = frozenset(
    {NUMBER_TAG, COLUMN_TAG, WORD_TAG, ONE_TAG, MANY_TAG, JOB_TAG, TEXT_TAG, TEXTS_TAG, LIST_TAG, NAMED_TAG}
)


class ColumnReference(Section):
    """A parameter's value taken from a column of each row."""

    column: str = Field(min_length=1, description="The input column that holds the value for each row.")


def _check_json(values: JsonObject) -> JsonObject:
    return {key: _json_value(value) for key, value in values.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return _check_json(value)
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("json", "JSON has no infinite numbers and no NaN", {"suggestion": "write a number"})
    # Plain types: what is kept and sent must not depend on how the file writes them.
    return float(value) if isinstance(value, float) else str(value) if isinstance(value, str) else value


def _either(given: object) -> str:
    return COLUMN_TAG if isinstance(given, Mapping | ColumnReference) else NUMBER_TAG


def _text_or_column(given: object) -> str:
    if isinstance(given, tuple):
        return TEXTS_TAG
    return COLUMN_TAG if isinstance(given, Mapping | ColumnReference) else TEXT_TAG


def _number_or_word(given: object) -> str:
    return WORD_TAG if isinstance(given, str) else NUMBER_TAG


def one_or_many(given: object) -> str:
    """Return the tag of one path or address, or of a list of them."""
    return MANY_TAG if isinstance(given, tuple) else ONE_TAG


Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Money = Annotated[Decimal, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
UsdPerMillion = Annotated[
    Decimal, Field(ge=0, decimal_places=PRICE_DECIMALS), WithJsonSchema({"type": "number", "minimum": 0})
]
NumberOrColumn = Annotated[
    Annotated[Finite, Tag(NUMBER_TAG)] | Annotated[ColumnReference, Tag(COLUMN_TAG)], Discriminator(_either)
]
IntegerOrColumn = Annotated[
    Annotated[int, Tag(NUMBER_TAG)] | Annotated[ColumnReference, Tag(COLUMN_TAG)], Discriminator(_either)
]
TextOrColumn = Annotated[
    Annotated[Text, Tag(TEXT_TAG)] | Annotated[ColumnReference, Tag(COLUMN_TAG)], Discriminator(_text_or_column)
]
TextsOrColumn = Annotated[
    Annotated[Text, Tag(TEXT_TAG)]
    | Annotated[tuple[Text, ...], Field(min_length=1), Tag(TEXTS_TAG)]
    | Annotated[ColumnReference, Tag(COLUMN_TAG)],
    Discriminator(_text_or_column),
]
Concurrency = Annotated[
    Annotated[int, Field(ge=1, le=20_000), Tag(NUMBER_TAG)] | Annotated[Literal["auto"], Tag(WORD_TAG)],
    Discriminator(_number_or_word),
]
MOST_PROCESSES = 64
Processes = Annotated[
    Annotated[int, Field(ge=1, le=MOST_PROCESSES), Tag(NUMBER_TAG)] | Annotated[Literal["auto"], Tag(WORD_TAG)],
    Discriminator(_number_or_word),
]
OneOrManyUrls = Annotated[
    Annotated[Text, Tag(ONE_TAG)] | Annotated[tuple[Text, ...], Field(min_length=1), Tag(MANY_TAG)],
    Discriminator(one_or_many),
]
OneOrManyColumns = Annotated[
    Annotated[Text, Tag(ONE_TAG)] | Annotated[tuple[Text, ...], Field(min_length=1), Tag(MANY_TAG)],
    Discriminator(one_or_many),
]
SentJson = Annotated[dict[str, Any], AfterValidator(_check_json)]
"""Further keys of a request's body, which have to be JSON."""
