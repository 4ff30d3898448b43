"""What is published about the models: windows, parameter ranges, dated prices. The facts are in `models.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from functools import cache

from msgspec import Struct

from pipeline.records import JsonObject


class ChatTemplate(Struct, frozen=True):
    """The tokens that a model's chat template adds to a conversation, and to each message in it."""

    conversation: int
    message: int


class Model(Struct, frozen=True):
    """One model as published. `priced_on` is the date (ISO 8601) the two prices were read, None if it is not known.
    `parameters` names those that the model documents, none where it documents all of its provider's.

    `provider` is the one whose model this is, None for that of any. `chat_template` is None if it has not been
    counted. `max_instruction_tokens` bounds the instructions that a model puts around every
    conversation by itself (Llama Guard 3's list of categories, as its model card prints it: 195 tokens).
    `reasons_in_text` marks one whose answers begin with its reasoning, up to `</think>`, and `takes_schemas` one that
    Workers AI lists as taking a JSON Schema in `response_format` ("JSON Mode" in its documentation).
    """

    name: str
    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    context_window: int
    priced_on: str | None
    parameters: tuple[str, ...] = ()
    note: str = ""
    provider: str | None = None
    chat_template: ChatTemplate | None = None
    max_instruction_tokens: int = 0
    reasons_in_text: bool = False
    takes_schemas: bool = False

    def is_of(self, provider: str) -> bool:
        """Return whether these facts hold for the model as a provider has it."""
        return self.provider in (None, provider)


class Catalogue(Struct, frozen=True):
    """Models in the order in which they are listed, each name once."""

    models: tuple[Model, ...]

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return [model.name for model in self.models]

    def find(self, name: str) -> Model | None:
        """Return the model of exactly this name, or None."""
        return next((model for model in self.models if model.name == name), None)

    def extended(self, models: Sequence[Model]) -> Catalogue:
        """Return this catalogue with further models, which take the place of those of the same name."""
        names = {model.name for model in models}
        return Catalogue((*(model for model in self.models if model.name not in names), *models))


@cache
def built_in() -> Catalogue:
    """Return the catalogue that comes with the program, in the published order."""
    from importlib.resources import files

    facts = json.loads(files(__package__).joinpath("models.json").read_text(encoding="utf-8"))
    return Catalogue(tuple(_model(entry, facts) for entry in facts["models"]))


def _model(entry: JsonObject, facts: JsonObject) -> Model:
    template = entry.get("chat_template")
    return Model(
        name=entry["name"],
        input_usd_per_million=Decimal(entry["input_usd_per_million"]),
        output_usd_per_million=Decimal(entry["output_usd_per_million"]),
        context_window=entry["context_window"],
        priced_on=facts["priced_on"],
        parameters=tuple(entry.get("parameters", ())),
        note=entry["note"],
        provider=facts["provider"],
        chat_template=None if template is None else ChatTemplate(**template),
        max_instruction_tokens=entry.get("max_instruction_tokens", 0),
        reasons_in_text=entry.get("reasons_in_text", False),
        takes_schemas=entry.get("takes_schemas", False),
    )
