"""`catalogue`: models of the user's own, and other facts about known ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pipeline.catalogue import Catalogue, ChatTemplate, Model
from pipeline.config.models.section import Section
from pipeline.config.models.values import Text, UsdPerMillion
from pipeline.providers import UNBOUNDED

if TYPE_CHECKING:
    ParameterName = str
else:
    ParameterName = Literal[tuple(UNBOUNDED)]


def _check_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        hint = {"suggestion": "write it as in `2026-11-28`"}
        raise PydanticCustomError("date", "this is not a date", hint) from None


class ChatTemplateConfig(Section):
    """The tokens that a model's chat template adds."""

    conversation: int = Field(
        ge=0, description="The tokens that its chat template adds to a conversation, for estimates.", examples=[30]
    )
    message: int = Field(ge=0, description="Those that it adds to each message.", examples=[5])


class ModelConfig(Section):
    """One model."""

    name: Text = Field(description="The model's name, as the server knows it.", examples=["my-team/my-model"])
    input_usd_per_million: UsdPerMillion = Field(description="USD per million prompt tokens.", examples=[0.32])
    output_usd_per_million: UsdPerMillion = Field(description="USD per million completion tokens.", examples=[0.34])
    context_window: int = Field(
        ge=1, description="The maximum number of tokens in prompt and answer together.", examples=[32768]
    )
    parameters: tuple[ParameterName, ...] = Field(
        default=(),
        description="The parameters that it takes; without them, all of the server's.",
        examples=[["temperature", "max_tokens"]],
    )
    chat_template: ChatTemplateConfig | None = Field(
        default=None, description="The tokens that its chat template adds, for estimates."
    )
    reasons_in_text: bool = Field(
        default=False, description="Whether its answers begin with reasoning, up to `</think>`."
    )
    takes_schemas: bool = Field(
        default=False, description="Whether it takes a JSON Schema in `response_format`; see `expect.send`."
    )
    note: str = Field(default="", description="A remark for people.")


class CatalogueConfig(Section):
    """Models of the user's own, which replace known ones of the same name."""

    priced_on: Annotated[str, AfterValidator(_check_date)] | None = Field(
        default=None, description="The date on which the prices were read."
    )
    models: tuple[ModelConfig, ...] = Field(
        description="The models.", examples=[[{"name": "my-team/my-model", "…": "…"}]]
    )

    def extending(self, catalogue: Catalogue) -> Catalogue:
        """Return a catalogue that has these models too."""
        return catalogue.extended(list(self._models()))

    def _models(self) -> Iterator[Model]:
        for one in self.models:
            template = one.chat_template
            yield Model(
                name=one.name,
                input_usd_per_million=one.input_usd_per_million,
                output_usd_per_million=one.output_usd_per_million,
                context_window=one.context_window,
                priced_on=self.priced_on,
                parameters=one.parameters,
                note=one.note,
                chat_template=None if template is None else ChatTemplate(template.conversation, template.message),
                reasons_in_text=one.reasons_in_text,
                takes_schemas=one.takes_schemas,
            )
