"""`expect`: what every answer has to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from pipeline.config.models.paths import PathText
from pipeline.config.models.section import Section
from pipeline.config.models.values import COLUMN_TAG, ONE_TAG, SentJson, Text


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise PydanticCustomError(
            "pattern", "not a regular expression of Python's: {why}", {"why": str(error), "suggestion": "fix it"}
        ) from None
    return pattern


def _path_or_schema(given: object) -> str:
    return COLUMN_TAG if isinstance(given, Mapping) else ONE_TAG


PathOrSchema = Annotated[
    Annotated[PathText, Tag(ONE_TAG)] | Annotated[SentJson, Tag(COLUMN_TAG)], Discriminator(_path_or_schema)
]
Pattern = Annotated[Text, AfterValidator(_check_pattern)]


class ExpectConfig(Section):
    """What every answer has to be: exactly one of `json_schema`, `choices` and `regex`. An answer that is not is asked
    for again, and billed like any other; the value that is read from it is in the column `parsed`.
    """

    json_schema: PathOrSchema | None = Field(
        default=None,
        description="The JSON Schema of the answer, as a file or inline; the files that it refers to are beside "
        "it, and nothing is fetched.",
        examples=["schema.json"],
    )
    choices: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None, description="The answer is one of these texts.", examples=[["yes", "no"]]
    )
    regex: Pattern | None = Field(
        default=None,
        description="A regular expression of Python's that the answer matches somewhere; named groups are columns of "
        "`parsed`.",
        examples=["Answer: (?P<answer>\\d+)"],
    )
    send: Literal["auto", "response_format", "prompt", "none"] = Field(
        default="auto",
        description="How the endpoint is told: in its own form, in a paragraph after the system text, or not at all; "
        "`auto` takes its own form where the endpoint is known to have one.",
    )
    attempts: int = Field(
        default=3, ge=1, le=20, description="The most answers asked for a row until one holds, each of them billed."
    )
    feedback: bool = Field(
        default=True, description="Whether the next question holds the answer before and what is wrong with it."
    )
