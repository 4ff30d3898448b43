"""The endpoint's documentation of its models and parameters, transcribed independently.

The prices are those published on 2025-06-11, in USD per million tokens. Nothing is shared with the pipeline's own
catalogue, so a mistake in one of them shows as a difference.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct


class Model(Struct, frozen=True):
    """A model: USD per million tokens, context window in tokens, and peculiarities of its answers."""

    name: str
    input_usd: Decimal
    output_usd: Decimal
    window: int
    shows_tool_calls: bool = False
    reasons: bool = False
    is_guard: bool = False

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """Return the exact price of one answer, in USD."""
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / 1_000_000


class Range(Struct, frozen=True):
    """The allowed values of a parameter, inclusive; `high` is None if no bound is documented."""

    low: int
    high: int | None
    integer: bool = False

    def holds(self, value: object) -> bool:
        """Return whether the value is a number of the right kind within the range (true and false are not numbers)."""
        if isinstance(value, bool) or not isinstance(value, int if self.integer else int | float):
            return False
        return self.low <= value and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        kind = "an integer" if self.integer else "a number"
        return f"{kind} of at least {self.low}" if self.high is None else f"{kind} from {self.low} to {self.high}"


def _model(name: str, input_usd: str, output_usd: str, window: int, **odd: bool) -> Model:
    return Model(name, Decimal(input_usd), Decimal(output_usd), window, **odd)


MODELS = {
    model.name: model
    for model in (
        _model("meta/llama-4-scout-17b-16e-instruct", "0.32", "0.34", 130_000, shows_tool_calls=True),
        _model("meta/llama-3.3-70b-instruct-fp8-fast", "0.31", "0.34", 25_000),
        _model("meta/llama-3.1-70b-instruct", "0.31", "0.34", 25_000),
        _model("meta/llama-3.1-8b-instruct", "0.07", "0.08", 8_000),
        _model("meta/llama-guard-3-8b", "0.12", "0.15", 8_124, is_guard=True),
        _model("google/gemma-3-12b-it", "0.11", "0.12", 80_000, shows_tool_calls=True),
        _model("qwen/qwen2.5-coder-32b-instruct", "0.55", "0.57", 32_500, shows_tool_calls=True),
        _model("qwen/qwq-32b", "0.54", "0.57", 24_000, reasons=True),
        _model("qwen/qwen1.5-14b-chat-awq", "0.11", "0.12", 8_000),
        _model("deepseek-ai/deepseek-math-7b-instruct", "0.10", "0.11", 4_096),
        _model("deepseek-ai/deepseek-r1-distill-qwen-32b", "0.56", "0.59", 85_000, reasons=True),
        _model("openai/gpt-oss-120b", "0.30", "0.45", 128_000),
    )
}

PARAMETERS = {
    "max_tokens": Range(1, None, integer=True),
    "temperature": Range(0, 5),
    "top_p": Range(0, 2),
    "top_k": Range(1, 50, integer=True),
    "seed": Range(1, 9_999_999_999, integer=True),
    "repetition_penalty": Range(0, 2),
    "frequency_penalty": Range(0, 2),
    "presence_penalty": Range(0, 2),
}

UNDOCUMENTED = frozenset({"response_format", "guided_json", "tools"})
"""Further parameters that Workers AI accepts, and this endpoint probably too."""

GUARD_PARAMETERS = {name: PARAMETERS[name] for name in ("max_tokens", "temperature")}
