"""Exact cost of a usage, and bounds on the tokens and the cost of a request that has not been sent.

No tokenizer is at hand, so tokens are bounded from both sides by the prompt's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_CEILING,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    Overflow,
)

from pipeline.catalogue.facts import built_in
from pipeline.records import Message, Request, Usage, json_text, message_texts

TOKENS_PER_MESSAGE = 32
"""Allowance for what a chat template puts around one message: role, separators."""

TOKENS_PER_CONVERSATION = 64
"""Allowance for what a chat template puts around the whole: opening, default system text, the start of the answer."""

TOKENS_PER_PART = 4096
"""Allowance for an image, whose tokens follow its pixels and not its bytes (Llama 4: 17 tiles of 144 tokens)."""

MAX_BYTES_PER_TOKEN = 128
"""The longest token there is: 128 spaces in Llama 3's vocabulary (counted in tokenizer.model of the PyPI package
llama-models 0.3.0; Llama 4: 113 bytes). A text may well be one long word again and again, so an average will not do."""

_DAYS_OF_A_YEAR = 365
_USD_UNIT = Decimal("1e-12")
_USD_BEYOND = Decimal(10**6)
_SURELY_FITS = _USD_BEYOND.adjusted() - 1
"""An amount with a lower exponent fits however it is rounded."""
_EXACT = Context(prec=200, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation, Overflow])
_UPWARD = Context(prec=200, Emin=MIN_EMIN, Emax=MAX_EMAX, rounding=ROUND_CEILING, traps=[InvalidOperation, Overflow])
_TO_COLUMN = Context(prec=200, Emin=MIN_EMIN, Emax=MAX_EMAX, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens; `as_of` is the date (ISO 8601) it was read, None if the user gave it.

    Prompt tokens that the server had in its cache cost `cached_input_usd_per_million`, where that is given.
    """

    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    as_of: str | None
    cached_input_usd_per_million: Decimal | None = None
    texts: tuple[str, str, str | None, str | None] = field(init=False, repr=False, compare=False)
    """Input, output, the date, cached input, as every record of an answer has them."""

    def __post_init__(self) -> None:
        cached = self.cached_input_usd_per_million
        prices = str(self.input_usd_per_million), str(self.output_usd_per_million)
        object.__setattr__(self, "texts", (*prices, self.as_of, None if cached is None else str(cached)))

    @classmethod
    def of(cls, texts: tuple[str, str, str | None, str | None]) -> Price:
        """Return the price of these `texts`."""
        prompt, answer, as_of, cached = texts
        return cls(Decimal(prompt), Decimal(answer), as_of, None if cached is None else Decimal(cached))

    def age_note(self, today: date) -> str | None:
        """Return how old the price is, where it may well have changed since: after a year."""
        if self.as_of is None or (today - date.fromisoformat(self.as_of)).days <= _DAYS_OF_A_YEAR:
            return None
        return f"prices of {self.as_of}, more than a year old"

    def times(self, factor: Decimal) -> Price:
        """Return the price where the same tokens are billed at a part of it, as in a batch."""
        cached = self.cached_input_usd_per_million
        return Price(
            _EXACT.multiply(self.input_usd_per_million, factor),
            _EXACT.multiply(self.output_usd_per_million, factor),
            self.as_of,
            None if cached is None else _EXACT.multiply(cached, factor),
        )

    @property
    def max_input_usd_per_million(self) -> Decimal:
        """The maximum price of a prompt token, cached or not."""
        cached = self.cached_input_usd_per_million
        return self.input_usd_per_million if cached is None else max(self.input_usd_per_million, cached)


def cost(price: Price | None, usage: Usage) -> Decimal | None:
    """Return the exact cost of a usage in USD, with as many decimals as it takes.

    Tokens generated beside the completion cost the same. None if the price or a count is unknown, or where the
    amount does not fit decimal128(18,12).
    """
    output_tokens = usage.output_tokens
    if price is None or usage.prompt_tokens is None or output_tokens is None:
        return None
    try:
        amount = _amount(price.input_usd_per_million, price, usage.prompt_tokens, output_tokens, _EXACT)
        if price.cached_input_usd_per_million is not None and usage.cached_tokens is not None:
            difference = _EXACT.subtract(price.cached_input_usd_per_million, price.input_usd_per_million)
            saved = _EXACT.scaleb(_EXACT.multiply(difference, usage.cached_tokens), -6)
            amount = _EXACT.add(amount, saved)
    except ArithmeticError:
        return None
    return amount if amount.adjusted() < _SURELY_FITS or as_column(amount) is not None else None


def as_column(amount: Decimal) -> Decimal | None:
    """Return USD rounded half-even to the 12 decimals of decimal128(18,12), or None if the amount does not fit."""
    if amount.adjusted() < _SURELY_FITS:
        return amount.quantize(_USD_UNIT, context=_TO_COLUMN)
    if amount.copy_abs() >= _USD_BEYOND:
        return None
    rounded = amount.quantize(_USD_UNIT, context=_TO_COLUMN)
    return rounded if rounded.copy_abs() < _USD_BEYOND else None


def max_prompt_tokens(messages: Sequence[Message], model: str = "") -> int:
    """Return the most tokens that the messages can be billed for by a model.

    Without a model, long instructions of its own are not counted. A byte-level tokenizer makes at most one token of
    each UTF-8 byte; the allowances above come on top. A part that is not text counts its JSON length and an allowance,
    an image from the input the allowance alone.
    """
    known = built_in().find(model)
    instructions = known.max_instruction_tokens if known else 0
    tokens = TOKENS_PER_CONVERSATION + instructions + TOKENS_PER_MESSAGE * len(messages)
    tokens += sum(map(_utf8_length, message_texts(messages)))
    for message in messages:
        content = message.get("content") or ""
        for part in () if isinstance(content, str) else content:
            if not (part.get("type") == "text" and isinstance(part.get("text"), str)):
                tokens += TOKENS_PER_PART + len(json.dumps(part, default=lambda image: ""))
    return tokens


def min_prompt_tokens(messages: Sequence[Message]) -> int:
    """Return the fewest tokens that the messages' text can be, so that a prompt beyond the context window is certain to
    be.

    Whitespace around a text does not count: Llama's chat templates remove it.
    """
    return sum(-(-_utf8_length(text.strip()) // MAX_BYTES_PER_TOKEN) for text in message_texts(messages))


@dataclass(frozen=True, slots=True)
class Excess:
    """How many more tokens a server billed than the upper bound of a request: of the prompt, for example because of a
    long template of its own, and of the completion.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def largest(self, other: Excess) -> Excess:
        """Return the larger count of both, each by itself."""
        return Excess(
            max(self.prompt_tokens, other.prompt_tokens), max(self.completion_tokens, other.completion_tokens)
        )


NO_EXCESS = Excess()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most tokens that a request can be billed for: of its prompt, and of its completion, None if nothing bounds
    that.
    """

    prompt_tokens: int
    completion_tokens: int | None

    @classmethod
    def of(cls, request: Request, context_window: int | None) -> Bounds:
        """Return the bounds of a request. Without max_tokens the completion is bounded by the context window.

        Further keys of the body, such as tools, can add one token per byte to the prompt.
        """
        prompt = max_prompt_tokens(request.messages, request.model)
        if request.extra_body:
            prompt += len(json_text(request.extra_body).encode())
        completion = request.max_tokens
        return cls(prompt, context_window if completion is None else completion)

    def excess(self, usage: Usage) -> Excess:
        """Return what a usage has beyond them; nothing where a count is not known."""
        output = usage.output_tokens
        if usage.prompt_tokens is None or output is None:
            return NO_EXCESS
        prompt = usage.prompt_tokens - self.prompt_tokens
        completion = 0 if self.completion_tokens is None else output - self.completion_tokens
        return Excess(max(0, prompt), max(0, completion)) if prompt > 0 or completion > 0 else NO_EXCESS


def worst_cost(price: Price | None, bounds: Bounds, beyond: Excess = NO_EXCESS) -> Decimal | None:
    """Return the most that a request within its bounds can cost, in USD, rounded up if at all; it may exceed what the
    output column can hold.

    `beyond` comes on top of the bounds. None if the price or the completion's bound is unknown.
    """
    if price is None or bounds.completion_tokens is None:
        return None
    prompt_tokens = bounds.prompt_tokens + beyond.prompt_tokens
    completion_tokens = bounds.completion_tokens + beyond.completion_tokens
    return _amount(price.max_input_usd_per_million, price, prompt_tokens, completion_tokens, _UPWARD)


def _amount(
    input_usd_per_million: Decimal, price: Price, prompt_tokens: int, completion_tokens: int, context: Context
) -> Decimal:
    prompt = context.multiply(input_usd_per_million, prompt_tokens)
    return context.scaleb(context.fma(price.output_usd_per_million, completion_tokens, prompt), -6)


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
