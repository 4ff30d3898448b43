"""Whether a prompt can fit into the model's context window."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.catalogue import min_prompt_tokens
from pipeline.catalogue.costs import MAX_BYTES_PER_TOKEN
from pipeline.errors import ErrorKind
from pipeline.prompts.failures import PromptFailure
from pipeline.records import Message, message_texts

_MAX_BYTES_PER_CHARACTER = 4


def check_window(messages: Sequence[Message], context_window: int | None) -> None:
    """Raise PromptFailure if the messages are certainly longer than a context window of so many tokens."""
    if context_window is None:
        return
    # Counting is slow; most prompts are too short to need it, whatever they say.
    max_bytes = _MAX_BYTES_PER_CHARACTER * sum(map(len, message_texts(messages)))
    if max_bytes <= context_window * MAX_BYTES_PER_TOKEN:
        return
    fewest = min_prompt_tokens(messages)
    if fewest > context_window:
        message = f"the prompt has at least {fewest:,} tokens; the model takes {context_window:,}"
        raise PromptFailure(ErrorKind.CONTEXT_WINDOW_EXCEEDED, message)
