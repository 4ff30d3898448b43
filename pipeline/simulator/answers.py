"""The text of an answer: a function of the seed and the request alone, so that every server with one seed agrees."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.simulator.asking import BYTES_PER_TOKEN, Asking, count_tokens, digest
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model made, before it is put into a wire form.

    `tool_calls` and `usage` are left out of the reply where they are None. The two counts are what is billed,
    whatever `usage` says.
    """

    response: object
    tool_calls: list[object] | None
    usage: dict[str, object] | None
    prompt_tokens: int
    completion_tokens: int
    is_cut: bool
    fields: Mapping[str, object] = field(default_factory=dict)
    """What stands beside the response: a refusal, a reasoning."""


def make_answer(seed: int, asking: Asking, *, breaks: bool = False) -> Answer:
    """The answer to a request; its text is cut at max_tokens, and then its count is exactly max_tokens. Where `breaks`,
    one that was asked for in a certain form has another.
    """
    whole = _text(random.Random(int(digest([seed, asking.request]), 16)), asking, breaks)
    text, tokens, is_cut = _cut(whole, asking.max_tokens)
    total = tokens + asking.prompt_tokens
    return Answer(
        response=text,
        tool_calls=[] if asking.model.shows_tool_calls else None,
        usage={"completion_tokens": tokens, "prompt_tokens": asking.prompt_tokens, "total_tokens": total},
        prompt_tokens=asking.prompt_tokens,
        completion_tokens=tokens,
        is_cut=is_cut,
    )


def _text(draw: random.Random, asking: Asking, breaks: bool) -> str:
    if asking.model.is_guard:
        return "\n\nsafe" if draw.random() < 0.8 else f"\n\nunsafe\nS{draw.randint(1, 14)}"
    wanted = find_wanted(asking.messages, asking.parameters)
    if wanted is None:
        answer = f"[{asking.prompt}] {_body(draw)}"
    else:
        answer = structured_text(draw, wanted, lambda: f"[{asking.prompt}] {_sentence(draw)}")
        answer = broken_text(draw, answer) if breaks else answer
    if not asking.model.reasons:
        return answer
    return f"[{asking.prompt}] Let me think. {_prose(draw)}\n</think>\n\n{answer}"


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


def _cut(text: str, max_tokens: int | None) -> tuple[str, int, bool]:
    tokens = count_tokens(text)
    if max_tokens is None or tokens <= max_tokens:
        return text, tokens, False
    kept = text.encode()[: max_tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")
    return kept, max_tokens, True
