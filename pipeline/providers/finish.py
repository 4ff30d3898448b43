"""How an answer ended, by its finish reason.

OpenAI's API reference has `stop`, `length`, `tool_calls` and `content_filter`; servers and gateways add their own
(Gemini `MAX_TOKENS`, Mistral `model_length`, DeepSeek `insufficient_system_resource`, vLLM and SGLang `abort`,
OpenRouter `error`, Zhipu `network_error`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_MOST_CHARACTERS = 100


def _words(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether the words of a reason match a pattern."""
    matches = re.compile(pattern).fullmatch

    @lru_cache(maxsize=64)
    def match(reason: str) -> bool:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reason.strip())
        words = re.sub(r"[\s.-]+", "_", words).lower().removeprefix("finish_reason_")
        return matches(words) is not None

    return match


_are_of_limit = _words(
    r"(model_|max_|context_)?length(_limit|_exceeded|_capped)?|(max|maximum)_((new|output|completion)_)?tokens"
    r"|(token|tokens|error|output)_limit(_reached|_exceeded)?|(model_)?context_window(_exceeded)?"
)
_are_of_break = _words(
    r"(.+_)?(error|abort(ed)?|cancel(l?ed)?|failed|failure|interrupted|timeout|timed_out|overloaded)"
    r"|insufficient_system_resources?"
)
_are_of_filter = _words(r"(.*_)?(filter(ed)?|safety|blocked|blocklist|prohibited_content|recitation|spii|refusal)")


def finish_reason(value: Any) -> str | None:
    """Return the word for how an answer ended; SGLang's own form is an object with it as `type`."""
    if isinstance(value, dict):
        value = value.get("type")
    return value if isinstance(value, str) and value else None


def stopped_at_limit(reason: str | None) -> bool:
    """Return whether the answer stopped because it had as many tokens as it may have."""
    return _are_of_limit((reason or "")[:_MOST_CHARACTERS])


def broke_off(reason: str | None) -> bool:
    """Return whether the server gave up in the middle of the answer. A content filter's stop is an end like others."""
    return _are_of_break((reason or "")[:_MOST_CHARACTERS])


def explains_emptiness(reason: str | None) -> bool:
    """Return whether an answer that ended so may be without a word: it was filtered, or no room was left for one."""
    return stopped_at_limit(reason) or _are_of_filter((reason or "")[:_MOST_CHARACTERS])
