"""How the endpoint is told what an answer has to be: in a form of its own, or in a paragraph of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from pipeline.records import JsonObject, Message, Request, json_text

_INSTRUCTING = ("system", "developer")


class Form(Enum):
    """Where the endpoint is told, in the words of `expect.send`; the first one is the key of the body too."""

    RESPONSE_FORMAT = "response_format"
    PROMPT = "prompt"
    NONE = "none"


class Telling(Struct, frozen=True):
    """What the endpoint is told: by a key of the body, whose value is `value`, or by a paragraph after the system text.
    `may_fall_back` says that the paragraph takes the place of the key where the endpoint refuses it.
    """

    form: Form
    paragraph: str
    value: JsonObject | None = None
    may_fall_back: bool = False

    def told(self, request: Request) -> Request:
        """Return the request with what the endpoint is told."""
        if self.form is Form.RESPONSE_FORMAT:
            return replace(request, extra_body={**request.extra_body, self.form.value: self.value})
        return in_prompt(request, self.paragraph) if self.form is Form.PROMPT else request

    def is_in_form(self, request: Request) -> bool:
        """Return whether a request tells the endpoint in a form of its own that may be left for the prompt."""
        return self.may_fall_back and Form.RESPONSE_FORMAT.value in request.extra_body

    def fallen_back(self, request: Request) -> Request:
        """Return a request that was told in the endpoint's form, told in the prompt instead."""
        others = {name: value for name, value in request.extra_body.items() if name != Form.RESPONSE_FORMAT.value}
        return in_prompt(replace(request, extra_body=others), self.paragraph)


def schema_paragraph(schema: JsonObject) -> str:
    """Return what tells a model to answer with JSON under a schema."""
    return (
        f"Answer with one JSON value that is valid under this JSON Schema, and with nothing else:\n{json_text(schema)}"
    )


def choices_paragraph(choices: Sequence[str]) -> str:
    """Return what tells a model to answer with one of these texts."""
    listed = json_text(list(choices))
    return f"Answer with exactly one of these texts, as it stands there, and with nothing else:\n{listed}"


def pattern_paragraph(pattern: str) -> str:
    """Return what tells a model which pattern its answer has to match."""
    return f"The answer has to match this regular expression (Python's re.search):\n{pattern}"


def in_prompt(request: Request, paragraph: str) -> Request:
    """Return the request with a paragraph after the system text, or as the system text where there is none."""
    messages = request.messages
    first = messages[0]
    if first["role"] in _INSTRUCTING and isinstance(first.get("content"), str):
        told: Message = {**first, "content": f"{first['content']}\n\n{paragraph}"}
        return replace(request, messages=(told, *messages[1:]))
    return replace(request, messages=({"role": "system", "content": paragraph}, *messages))
