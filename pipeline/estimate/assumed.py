"""Totals of requests by stated ratios alone, while nothing has been learned."""

from __future__ import annotations

from pipeline.catalogue import ChatTemplate, Price, cost
from pipeline.catalogue.costs import TOKENS_PER_CONVERSATION, TOKENS_PER_MESSAGE
from pipeline.estimate.ranges import BOUNDS, Range
from pipeline.estimate.sizes import Sizes, Totals
from pipeline.records import Usage

# UTF-8 bytes a token, counted with the tokenizers of Llama 3 and 4 (docs/estimate.md): English prose has 4 to 4.7, that
# of 26 languages at most 8.6; no text has less than 1, and scripts that a vocabulary leaves out have that.
BYTES_A_TOKEN = {"low": 10.0, "expected": 4.0, "high": 1.0}
"""UTF-8 bytes a prompt token, by the bound of the tokens."""
# Where a model's own template has not been counted: none to speak of, Llama's, and the allowance of the caps.
_OTHER_TEMPLATES = {
    "low": ChatTemplate(conversation=0, message=1),
    "expected": ChatTemplate(conversation=5, message=5),
    "high": ChatTemplate(conversation=TOKENS_PER_CONVERSATION, message=TOKENS_PER_MESSAGE),
}
_COMPLETION_TOKENS = {"low": 16, "expected": 256, "high": 2048}
_SHARE_OF_MAX_TOKENS = {"low": 0.02, "expected": 0.4, "high": 1.0}
_LATENCY_SECONDS = {"low": 0.5, "expected": 4.0, "high": 20.0}


def assumed_totals(sizes: Sizes, price: Price | None, template: ChatTemplate | None = None) -> Totals:
    """Return the totals by the ratios that `assumptions` names, and by the model's chat template if known."""
    prompt = {b: round(sizes.bytes / BYTES_A_TOKEN[b]) + _template_tokens(sizes, template, b) for b in BOUNDS}
    completion = {
        b: round(sizes.max_tokens * _SHARE_OF_MAX_TOKENS[b]) + sizes.without_max_tokens * _COMPLETION_TOKENS[b]
        for b in BOUNDS
    }
    if sizes.answers > 1:  # at worst none of the first ones is valid, and each goes along with the next question
        prompt["high"] = sizes.answers * prompt["high"] + (sizes.answers - 1) * completion["high"]
        completion["high"] *= sizes.answers
    answers = {"low": 1, "expected": 1, "high": sizes.answers}
    spent = [amount for b in BOUNDS if (amount := cost(price, Usage(prompt[b], completion[b]))) is not None]
    return Totals(
        prompt_tokens=Range(*(float(prompt[b]) for b in BOUNDS)),
        completion_tokens=Range(*(float(completion[b]) for b in BOUNDS)),
        cost_usd=Range(*spent) if len(spent) == len(BOUNDS) else None,
        busy_seconds=Range(*(sizes.requests * answers[b] * _LATENCY_SECONDS[b] for b in BOUNDS)),
        requests=sizes.requests,
    )


def _template_tokens(sizes: Sizes, known: ChatTemplate | None, bound: str) -> int:
    template = known or _OTHER_TEMPLATES[bound]
    return template.conversation * sizes.requests + template.message * sizes.messages


def assumptions() -> str:
    """Return the ratios, in a sentence."""
    return (
        f"nothing learned yet: assumes {BYTES_A_TOKEN['expected']:g} bytes a prompt token"
        f" ({BYTES_A_TOKEN['high']:g} to {BYTES_A_TOKEN['low']:g}), answers of"
        f" {_SHARE_OF_MAX_TOKENS['expected']:.0%} of max_tokens ({_SHARE_OF_MAX_TOKENS['low']:.0%} to"
        f" {_SHARE_OF_MAX_TOKENS['high']:.0%}; {_COMPLETION_TOKENS['expected']} tokens where it is not set), and"
        f" {_LATENCY_SECONDS['expected']:g} s a request ({_LATENCY_SECONDS['low']:g} to {_LATENCY_SECONDS['high']:g});"
        " --pilot N learns from N rows of the job"
    )
