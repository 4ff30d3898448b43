"""The message of a failure, as it may be logged."""

from __future__ import annotations

import re

from pipeline.records import Request, message_texts

_BLANK = re.compile(r"\s+|\\[nrt]")
_QUOTE = 16
_SHORT_QUOTE = 8
_MIN_LENGTH = 4


def loggable(message: str, request: Request) -> str:
    """Return a failure's message as it may be logged.

    The endpoint's own words are left out if they repeat sixteen characters of the prompt. Of a shorter text half is
    enough, if that is eight characters, else all of it. Whitespace does not count.
    """
    words = _BLANK.sub("", message)
    texts = [_BLANK.sub("", text) for text in message_texts(request.messages)]
    if any(_repeats(words, text) for text in texts if len(text) >= _MIN_LENGTH):
        return f"{message.partition(': ')[0]}: the endpoint's own words repeat the prompt, and are not shown"
    return message


def _repeats(words: str, text: str) -> bool:
    # Less than this of a short text stands in many a message: "tion" of a question in "Authentication error".
    length = min(_QUOTE, len(text), max(_SHORT_QUOTE, len(text) // 2))
    return any(words[start : start + length] in text for start in range(len(words) - length + 1))
