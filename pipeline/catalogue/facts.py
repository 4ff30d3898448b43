"""What is published about the models: windows, parameter ranges, dated prices. The facts stand in `models.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import MappingProxyType

from pipeline.records import JsonObject
from pipeline.wording import range_text


@dataclass(frozen=True, slots=True)
class ParameterRange:
    """The values a generation parameter may have, both ends included; None where there is no bound."""

    minimum: float | int | None
    maximum: float | int | None
    integer: bool

    def __str__(self) -> str:
        return range_text("a whole number" if self.integer else "a number", self.minimum, self.maximum)

    def holds(self, value: float | Decimal) -> bool:
        """Return whether a finite number lies within the bounds."""
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)


@dataclass(frozen=True, slots=True)
class ParameterText:
    """A generation parameter that is text, or with `many` a list of texts too."""

    many: bool = False

    def __str__(self) -> str:
        return "text or a list of texts" if self.many else "text"


ParameterValues = ParameterRange | ParameterText
"""What a generation parameter may be."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The tokens that a model's chat template adds to a conversation, and to each message in it."""

    conversation: int
    message: int


@dataclass(frozen=True, slots=True)
class Model:
    """One model as published; `priced_on` is the date (ISO 8601) the two prices were read. `chat_template` is None
    where it has not been counted. `most_instruction_tokens` bounds the instructions that a model puts around every
    conversation by itself (Llama Guard 3's list of categories, as its model card prints it: 195 tokens).
    `reasons_in_text` marks one whose answers begin with its reasoning, up to `</think>`.
    """

    name: str
    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    context_window: int
    priced_on: str
    parameters: Mapping[str, ParameterRange]
    note: str
    chat_template: ChatTemplate | None = None
    most_instruction_tokens: int = 0
    reasons_in_text: bool = False


DEFAULT_PARAMETERS: Mapping[str, ParameterRange] = MappingProxyType(
    {
        "temperature": ParameterRange(0, 5, integer=False),
        "top_p": ParameterRange(0, 2, integer=False),
        "top_k": ParameterRange(1, 50, integer=True),
        "max_tokens": ParameterRange(1, None, integer=True),
        "seed": ParameterRange(1, 9_999_999_999, integer=True),
        "repetition_penalty": ParameterRange(0, 2, integer=False),
        "frequency_penalty": ParameterRange(0, 2, integer=False),
        "presence_penalty": ParameterRange(0, 2, integer=False),
    }
)
"""The ranges Dataoorts documents for its endpoint, whatever the model. The order is the one requests are built in."""

OPENAI_PARAMETERS: Mapping[str, ParameterValues] = MappingProxyType(
    {
        "temperature": ParameterRange(None, None, integer=False),
        "top_p": ParameterRange(None, None, integer=False),
        "top_k": ParameterRange(None, None, integer=True),
        "max_tokens": ParameterRange(None, None, integer=True),
        "seed": ParameterRange(None, None, integer=True),
        "repetition_penalty": ParameterRange(None, None, integer=False),
        "frequency_penalty": ParameterRange(None, None, integer=False),
        "presence_penalty": ParameterRange(None, None, integer=False),
        "min_p": ParameterRange(None, None, integer=False),
        "stop": ParameterText(many=True),
        "reasoning_effort": ParameterText(),
    }
)
"""Every parameter there is, in the order requests are built in. Each server has ranges of its own: vLLM refuses a
temperature above 2 and takes `top_k: -1`, llama.cpp takes any of both."""


@cache
def models() -> tuple[Model, ...]:
    """Every model of the catalogue, in the published order."""
    from importlib.resources import files

    facts = json.loads(files(__package__).joinpath("models.json").read_text(encoding="utf-8"))
    return tuple(_model(entry, facts["priced_on"]) for entry in facts["models"])


def model_names() -> list[str]:
    """The names of the catalogue's models, in the published order."""
    return [model.name for model in models()]


def find_model(name: str) -> Model | None:
    """The model of exactly this name, or None where the catalogue does not know it."""
    return next((model for model in models() if model.name == name), None)


def _model(entry: JsonObject, priced_on: str) -> Model:
    documented = entry.get("parameters", DEFAULT_PARAMETERS)
    template = entry.get("chat_template")
    return Model(
        name=entry["name"],
        input_usd_per_million=Decimal(entry["input_usd_per_million"]),
        output_usd_per_million=Decimal(entry["output_usd_per_million"]),
        context_window=entry["context_window"],
        priced_on=priced_on,
        parameters=MappingProxyType({name: DEFAULT_PARAMETERS[name] for name in documented}),
        note=entry["note"],
        chat_template=None if template is None else ChatTemplate(**template),
        most_instruction_tokens=entry.get("most_instruction_tokens", 0),
        reasons_in_text=entry.get("reasons_in_text", False),
    )
