"""Reasoning in the text of an answer, up to `</think>`.

QwQ, DeepSeek-R1 and similar models write it. Their chat templates open `<think>` in the prompt, so answers often do
not repeat it.
"""

from __future__ import annotations

_OPENING, _CLOSING = "<think>", "</think>"


def split_reasoning(text: str) -> tuple[str, str] | None:
    """Return the reasoning and the answer after it, or None if the text has no end of a reasoning."""
    reasoning, found, answer = text.partition(_CLOSING)
    if not found:
        return None
    opened = reasoning.lstrip()
    if opened.startswith(_OPENING):
        reasoning = opened.removeprefix(_OPENING).lstrip()
    return reasoning.rstrip(), answer.lstrip()
