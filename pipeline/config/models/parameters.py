"""`parameters`: how answers are generated."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.section import Section
from pipeline.config.models.values import IntegerOrColumn, NumberOrColumn, TextOrColumn, TextsOrColumn


class ParametersConfig(Section):
    """Generation parameters, each a value or `{column: NAME}`. The ranges are the provider's."""

    temperature: NumberOrColumn | None = Field(
        default=None, description="How randomly tokens are sampled.", examples=[0.1]
    )
    top_p: NumberOrColumn | None = Field(
        default=None, description="The share of the probability that tokens are sampled from.", examples=[0.9]
    )
    top_k: IntegerOrColumn | None = Field(
        default=None, description="The number of most likely tokens to sample from.", examples=[40]
    )
    max_tokens: IntegerOrColumn | None = Field(
        default=None, description="The maximum number of tokens in an answer.", examples=[1024]
    )
    seed: IntegerOrColumn | None = Field(default=None, description="Makes the sampling repeatable.", examples=[7])
    repetition_penalty: NumberOrColumn | None = Field(
        default=None, description="Discourages repeated tokens.", examples=[1.1]
    )
    frequency_penalty: NumberOrColumn | None = Field(
        default=None, description="Discourages tokens used often so far.", examples=[0.2]
    )
    presence_penalty: NumberOrColumn | None = Field(
        default=None, description="Discourages tokens used at all so far.", examples=[0.2]
    )
    min_p: NumberOrColumn | None = Field(
        default=None,
        description="Drops tokens that are less likely than this share of the most likely one.",
        examples=[0.05],
    )
    stop: TextsOrColumn | None = Field(
        default=None, description="Ends the answer before this text, or the first of these texts.", examples=[["###"]]
    )
    reasoning_effort: TextOrColumn | None = Field(
        default=None, description="How long a reasoning model thinks, in the server's words.", examples=["low"]
    )
