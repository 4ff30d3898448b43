"""The token counts of a reply.

`prompt_tokens_details` and `completion_tokens_details` are OpenAI's ("The chat completion object" in its API
reference); `prompt_cache_hit_tokens` is DeepSeek's.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.providers.documents import json_text
from pipeline.records import NO_USAGE, JsonObject, Usage, valid_count

_ENCODER = msgspec.json.Encoder()


def read_usage(value: Any, *, answered: bool, reasoned: bool = False) -> Usage:
    """Return the counts of a usage object, each None if it is not valid.

    A prompt is never of 0 tokens, so neither is a total. A completion is of 0 tokens only where nothing was `answered`,
    its reasoning only where nothing was `reasoned`. A detail is never more than what it is part of.
    """
    if value is None:
        return NO_USAGE
    raw = _text_of(value)
    if not isinstance(value, dict):
        return Usage(raw=raw)
    prompt = valid_count(value.get("prompt_tokens")) or None
    completion = valid_count(value.get("completion_tokens"))
    total = valid_count(value.get("total_tokens")) or None
    if completion == 0 and (answered or (reasoned and not Usage(prompt, completion, total).beside_completion)):
        completion = None
    cached = _detail(value, "prompt_tokens_details", "cached_tokens", "prompt_cache_hit_tokens")
    reasoning = _detail(value, "completion_tokens_details", "reasoning_tokens", "reasoning_tokens")
    if reasoning == 0 and reasoned:
        reasoning = None
    if reasoning:
        reasoning = _within(reasoning, Usage(prompt, completion, total).output_tokens)
    return Usage(prompt, completion, total, raw, _within(cached, prompt), reasoning)


def _text_of(value: Any) -> str:
    try:
        return _ENCODER.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, RecursionError):  # a lone surrogate, for one
        return json_text(value)


def _detail(usage: JsonObject, details: str, name: str, else_name: str) -> int | None:
    inside = usage.get(details)
    found = inside.get(name) if isinstance(inside, dict) else None
    return valid_count(usage.get(else_name) if found is None else found)


def _within(count: int | None, total: int | None) -> int | None:
    return None if count is not None and total is not None and count > total else count
