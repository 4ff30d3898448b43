"""What requests come to by stated ratios alone, where nothing has been learned yet."""

from __future__ import annotations

from pipeline.catalogue import Price, cost
from pipeline.estimate.ranges import BOUNDS, Range
from pipeline.estimate.sizes import Sizes, Totals
from pipeline.records import Usage

# Tokens per UTF-8 byte of English prose is near 1/4; code and other scripts lie between 1/5 and 1/1.5.
_BYTES_A_TOKEN = {"low": 5.0, "expected": 4.0, "high": 1.5}
_TOKENS_A_MESSAGE = 5
_COMPLETION_TOKENS = {"low": 16, "expected": 256, "high": 2048}
_SHARE_OF_MAX_TOKENS = {"low": 0.02, "expected": 0.4, "high": 1.0}
_LATENCY_SECONDS = {"low": 0.5, "expected": 4.0, "high": 20.0}


def assumed_totals(sizes: Sizes, price: Price | None) -> Totals:
    """What the requests come to by the ratios that `assumptions` names."""
    prompt = {b: round(sizes.bytes / _BYTES_A_TOKEN[b]) + _TOKENS_A_MESSAGE * sizes.messages for b in BOUNDS}
    completion = {
        b: round(sizes.max_tokens * _SHARE_OF_MAX_TOKENS[b]) + sizes.without_max_tokens * _COMPLETION_TOKENS[b]
        for b in BOUNDS
    }
    spent = [amount for b in BOUNDS if (amount := cost(price, Usage(prompt[b], completion[b]))) is not None]
    return Totals(
        prompt_tokens=Range(*(float(prompt[b]) for b in BOUNDS)),
        completion_tokens=Range(*(float(completion[b]) for b in BOUNDS)),
        cost_usd=Range(*spent) if len(spent) == len(BOUNDS) else None,
        busy_seconds=Range(*(sizes.requests * _LATENCY_SECONDS[b] for b in BOUNDS)),
    )


def assumptions() -> str:
    """The ratios, in a sentence."""
    return (
        f"nothing learned yet: assumes {_BYTES_A_TOKEN['expected']:g} bytes a prompt token"
        f" ({_BYTES_A_TOKEN['high']:g} to {_BYTES_A_TOKEN['low']:g}), answers of"
        f" {_SHARE_OF_MAX_TOKENS['expected']:.0%} of max_tokens ({_SHARE_OF_MAX_TOKENS['low']:.0%} to"
        f" {_SHARE_OF_MAX_TOKENS['high']:.0%}; {_COMPLETION_TOKENS['expected']} tokens where it is not set), and"
        f" {_LATENCY_SECONDS['expected']:g} s a request ({_LATENCY_SECONDS['low']:g} to {_LATENCY_SECONDS['high']:g});"
        " --pilot N learns from N rows of the job"
    )
