"""What a generation parameter may be."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from msgspec import Struct

from pipeline.wording import range_text


class ParameterRange(Struct, frozen=True):
    """The values a generation parameter may have, both ends included; None if there is no bound."""

    minimum: float | int | None
    maximum: float | int | None
    integer: bool

    def __str__(self) -> str:
        return range_text("an integer" if self.integer else "a number", self.minimum, self.maximum)

    def holds(self, value: float | Decimal) -> bool:
        """Return whether a finite number lies within the bounds."""
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)


class ParameterText(Struct, frozen=True):
    """A generation parameter that is text, or with `many` a list of strings too."""

    many: bool = False

    def __str__(self) -> str:
        return "text or a list of strings" if self.many else "text"


ParameterValues = ParameterRange | ParameterText
"""What a generation parameter may be."""

UNBOUNDED: Mapping[str, ParameterValues] = MappingProxyType(
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
"""Every parameter there is, without bounds, in the order requests are built in. Each server has ranges of its own: vLLM
refuses a temperature above 2 and takes `top_k: -1`, llama.cpp takes any of both."""
