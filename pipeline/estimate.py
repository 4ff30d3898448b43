"""What a run would send, cost and take, as ranges. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.catalogue import Price, cost
from pipeline.config.models import LimitsConfig
from pipeline.records import Request, Usage, message_texts

# Tokens per UTF-8 byte of English prose is near 1/4; code and other scripts lie between 1/5 and 1/1.5.
_BYTES_A_TOKEN = {"low": 5.0, "expected": 4.0, "high": 1.5}
_TOKENS_A_MESSAGE = 5
_COMPLETION_TOKENS = {"low": 16, "expected": 256, "high": 2048}
_SHARE_OF_MAX_TOKENS = {"low": 0.02, "expected": 0.4, "high": 1.0}
_LATENCY_SECONDS = {"low": 0.5, "expected": 4.0, "high": 20.0}
BOUNDS = ("low", "expected", "high")


@dataclass(slots=True)
class Sizes:
    """What is known of the requests to be sent, gathered one by one."""

    requests: int = 0
    messages: int = 0
    bytes: int = 0
    max_tokens: int = 0
    without_max_tokens: int = 0

    def add(self, request: Request) -> None:
        """Take in one request."""
        self.requests += 1
        self.messages += len(request.messages)
        self.bytes += sum(len(text.encode("utf-8", "replace")) for text in message_texts(request.messages))
        if request.max_tokens is None:
            self.without_max_tokens += 1
        else:
            self.max_tokens += request.max_tokens


def estimate(sizes: Sizes, price: Price | None, limits: LimitsConfig) -> dict[str, Any]:
    """Tokens, cost (USD, exact decimal text; None where the price is not known) and seconds, each as
    `{low, expected, high}`, by stated ratios alone.
    """
    prompt = {b: round(sizes.bytes / _BYTES_A_TOKEN[b]) + _TOKENS_A_MESSAGE * sizes.messages for b in BOUNDS}
    completion = {
        b: round(sizes.max_tokens * _SHARE_OF_MAX_TOKENS[b]) + sizes.without_max_tokens * _COMPLETION_TOKENS[b]
        for b in BOUNDS
    }
    spent = {b: cost(price, Usage(prompt[b], completion[b])) for b in BOUNDS}
    return {
        "requests": sizes.requests,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cost_usd": {b: None if amount is None else _text(amount) for b, amount in spent.items()},
        "seconds": {b: round(_seconds(sizes, prompt[b] + completion[b], b, limits), 1) for b in BOUNDS},
    }


def assumptions() -> str:
    """The ratios behind the figures, in a sentence."""
    return (
        f"assumes {_BYTES_A_TOKEN['expected']:g} bytes a prompt token ({_BYTES_A_TOKEN['high']:g} to"
        f" {_BYTES_A_TOKEN['low']:g}), answers of {_SHARE_OF_MAX_TOKENS['expected']:.0%} of max_tokens"
        f" ({_SHARE_OF_MAX_TOKENS['low']:.0%} to {_SHARE_OF_MAX_TOKENS['high']:.0%}), and"
        f" {_LATENCY_SECONDS['expected']:g} s a request ({_LATENCY_SECONDS['low']:g} to {_LATENCY_SECONDS['high']:g})"
    )


def _seconds(sizes: Sizes, tokens: int, bound: str, limits: LimitsConfig) -> float:
    in_flight = min(limits.concurrency, max(1, sizes.requests))
    seconds: float = sizes.requests * _LATENCY_SECONDS[bound] / in_flight
    if limits.requests_per_minute:
        seconds = max(seconds, sizes.requests / limits.requests_per_minute * 60)
    if limits.tokens_per_minute:
        seconds = max(seconds, tokens / limits.tokens_per_minute * 60)
    return seconds


def _text(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.000001')):f}"
