"""`prompt`: what is asked of each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from pipeline.config.models.paths import InputPath, PathText
from pipeline.config.models.section import Section
from pipeline.config.models.values import LIST_TAG, NAMED_TAG, ONE_TAG, SentJson, Text

PROMPT_KEYS = ("user", "column", "messages")
"""What may say what is asked, one at a time."""


class ExamplesFile(Section):
    """A file of few-shot examples."""

    path: InputPath = Field(description="A CSV, Parquet or JSONL file.", examples=["shots.jsonl"])
    user: Text = Field(default="user", description="The column with the user's messages.", examples=["question"])
    assistant: Text = Field(default="assistant", description="The column with the answers.", examples=["answer"])


class Example(Section):
    """One few-shot example."""

    user: Text = Field(description="The user's message, unchanged.")
    assistant: Text = Field(description="The answer, unchanged.")


def _file_or_list(given: object) -> str:
    return NAMED_TAG if isinstance(given, Mapping | ExamplesFile) else LIST_TAG


def _path_or_list(given: object) -> str:
    return ONE_TAG if isinstance(given, str) else LIST_TAG


Examples = Annotated[
    Annotated[ExamplesFile, Tag(NAMED_TAG)] | Annotated[tuple[Example, ...], Field(min_length=1), Tag(LIST_TAG)],
    Discriminator(_file_or_list),
]
Tools = Annotated[
    Annotated[PathText, Tag(ONE_TAG)] | Annotated[tuple[SentJson, ...], Field(min_length=1), Tag(LIST_TAG)],
    Discriminator(_path_or_list),
]


class PromptConfig(Section):
    """What is asked of each row: exactly one of `user`, `column` and `messages`."""

    system: str | None = Field(
        default=None, description="The system message, a template as `user` is.", examples=["You are a careful tutor."]
    )
    user: Text | None = Field(
        default=None,
        description="The user message, as a Jinja2 template over the row's columns.",
        examples=["{{ question }}"],
    )
    column: Text | None = Field(
        default=None, description="A column whose text is the user message, unchanged.", examples=["question"]
    )
    messages: Text | None = Field(
        default=None,
        description="A column with whole conversations: a list of {role, content}, or its JSON text.",
        examples=["chat"],
    )
    examples: Examples | None = Field(
        default=None,
        description="Few-shot examples, put before the user's message: a file, or a list of {user, assistant}. Not "
        "with `messages`.",
        examples=[[{"user": "2 + 2", "assistant": "4"}]],
    )
    tools: Tools | None = Field(
        default=None,
        description="The tools that the model may call, in OpenAI's form: a JSON file with a list of objects, or the "
        "list. They are sent unchanged.",
        examples=["tools.json"],
    )
    images: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Columns with images, sent after the text: bytes, structs of bytes and path, paths, `data:` URLs, "
        "or lists of them.",
        examples=[["photo"]],
    )
    image_urls: Literal["send"] | None = Field(
        default=None,
        description="`send` passes http(s) addresses of images on to the endpoint; without it such a row fails.",
    )
    samples: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="The answers for each row. Each is a row of the output, numbered by `sample_index`; sample k has "
        "`parameters.seed` + k where there is a seed.",
        examples=[4],
    )
    constant: bool = Field(
        default=False,
        description="Whether every row may be asked the same; otherwise a prompt that uses no column is an error.",
    )

    @property
    def given(self) -> list[str]:
        """Which of `user`, `column` and `messages` are there; a valid prompt has exactly one."""
        return [name for name in PROMPT_KEYS if getattr(self, name) is not None]
