"""`prompt`: what is asked of each row."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.section import Section
from pipeline.config.models.values import Text

PROMPT_KEYS = ("user", "column", "messages")
"""What may say what is asked, one at a time."""


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
