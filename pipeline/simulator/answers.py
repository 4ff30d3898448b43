"""The text of an answer: a function of the seed, the request and a number, so servers with the same seed agree."""

from __future__ import annotations

import random
from collections.abc import Mapping

from msgspec import Struct, field

from pipeline.simulator.chat_request import BYTES_PER_TOKEN, ChatRequest, JsonObject, count_tokens, digest
from pipeline.simulator.structured import broken_text, find_wanted, structured_text

_VOCABULARY = (
    "the a of and to in is that it for as with be by on not this are or from at which but have an they each one all we "
    "can number answer value first second sum price total half twice hours days water light people city river stone "
    "question evidence claim common belief because therefore however although usually rarely often about between "
    "remaining multiply divide subtract add equals means shows follows depends café naïve 漢字 Straße"
)
_WORDS = _VOCABULARY.split()
_SENTENCE_WORDS = (5, 18)
_TYPICAL_WORDS = 45
_MOST_WORDS = 600
_LIST_SHARE = 0.2


class Answer(Struct, frozen=True):
    """An answer of the model, before it is put into an API's format.

    `tool_calls` and `usage` are omitted from the reply if None. The two counts are billed, whatever `usage` says.
    """

    response: object
    tool_calls: list[JsonObject] | None
    usage: JsonObject | None
    prompt_tokens: int
    completion_tokens: int
    is_truncated: bool
    fields: Mapping[str, object] = field(default_factory=dict)
    """Fields besides the response, such as a refusal or reasoning."""


def make_answer(seed: int, chat: ChatRequest, number: int = 0, *, breaks: bool = False) -> Answer:
    """Make the answer to a request, or with a `number` another one; its text ends at max_tokens, and then its count is
    exactly max_tokens.

    With `breaks`, an answer that was requested in a certain format is not in that format.
    """
    full = _text(random.Random(int(digest([seed, chat.request, *([number] if number else [])]), 16)), chat, breaks)
    text, tokens, is_truncated = _truncate(full, chat.max_tokens)
    total = tokens + chat.prompt_tokens
    return Answer(
        response=text,
        tool_calls=[] if chat.model.shows_tool_calls else None,
        usage={"completion_tokens": tokens, "prompt_tokens": chat.prompt_tokens, "total_tokens": total},
        prompt_tokens=chat.prompt_tokens,
        completion_tokens=tokens,
        is_truncated=is_truncated,
    )


def _text(draw: random.Random, chat: ChatRequest, breaks: bool) -> str:
    if chat.model.is_guard:
        return "\n\nsafe" if draw.random() < 0.8 else f"\n\nunsafe\nS{draw.randint(1, 14)}"
    wanted = find_wanted(chat.texts, chat.parameters)
    if wanted is None:
        answer = f"[{chat.prompt}] {_body(draw)}"
    else:
        answer = structured_text(draw, wanted, lambda: f"[{chat.prompt}] {_sentence(draw)}")
        answer = broken_text(draw, answer) if breaks else answer
    if not chat.model.reasons:
        return answer
    return f"[{chat.prompt}] Let me think. {_prose(draw)}\n</think>\n\n{answer}"


def _body(draw: random.Random) -> str:
    if draw.random() >= _LIST_SHARE:
        return _prose(draw)
    items = "\n".join(f"{number}. {_sentence(draw)}" for number in range(1, draw.randint(3, 7)))
    return f"{_sentence(draw)}\n\n{items}"


def _prose(draw: random.Random) -> str:
    left = min(_MOST_WORDS, int(_TYPICAL_WORDS * draw.lognormvariate(0, 0.7)))
    sentences = [_sentence(draw)]
    while left > 0:
        sentences.append(_sentence(draw))
        left -= sum(_SENTENCE_WORDS) // 2
    return " ".join(sentences)


def _sentence(draw: random.Random) -> str:
    return " ".join(draw.choices(_WORDS, k=draw.randint(*_SENTENCE_WORDS))).capitalize() + "."


def _truncate(text: str, max_tokens: int | None) -> tuple[str, int, bool]:
    tokens = count_tokens(text)
    if max_tokens is None or tokens <= max_tokens:
        return text, tokens, False
    kept = text.encode()[: max_tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")
    return kept, max_tokens, True
