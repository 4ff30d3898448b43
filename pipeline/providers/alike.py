"""Events of a stream that differ in one text alone, read together: nearly all of an answer's are such.

A server repeats the id, the model and whatever else stands around the text. So the texts between the same bytes are cut
out and decoded as one, and no event is decoded by itself.
"""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import Any

from pydantic_core import from_json

_TEXTS = ("content", "reasoning_content", "reasoning")
_ESCAPE = rb'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})'
_LITERAL = rb'"%s"\s*:\s*"()(?:[^"\\\x00-\x1f]++|' + _ESCAPE + rb')*+()"'
"""A name and its text; the empty groups are where the text begins and ends."""
_LITERALS = {name: re.compile(_LITERAL % name.encode()) for name in _TEXTS}
_LINES_OF_TEXT = re.compile(rb'(?:[^"\\\x00-\x09\x0b-\x1f]++|' + _ESCAPE + rb")*+")

_BEGINNING = b"data: "
_BETWEEN = b"\n\n" + _BEGINNING
_OTHERS_BEHIND = 4
"""The most events of another kind that an answer usually ends with."""

JsonDict = dict[str, Any]
"""The JSON object of an event, or one that is put together of many."""


class Alike:
    """All events that are like one but for its text. To take in many is to take in one that has the texts of all."""

    def __init__(self, before: bytes, after: bytes, chunk: JsonDict, name: str) -> None:
        self._before = before
        self._after = after
        self._tail = after + b"\n\n"
        self._chunk = chunk
        self._delta: JsonDict = chunk["choices"][0]["delta"]
        self._name = name

    @classmethod
    def of(cls, data: bytes, chunk: JsonDict) -> Alike | None:
        """Return the events like this one, whose data is the JSON of the chunk; None if it is not of one text alone."""
        name = _only_text(chunk)
        literal = None if name is None else _LITERALS[name].search(data)
        if name is None or literal is None:
            return None
        before, after = data[: literal.start(1)], data[literal.start(2) :]
        try:
            emptied = from_json(before + after, allow_inf_nan=False)
        except ValueError:
            return None
        # Else the same name stands elsewhere in the event too.
        return cls(before, after, emptied, name) if emptied["choices"][0]["delta"][name] == "" else None

    def has(self, data: bytes) -> bool:
        """Return whether an event with this data seems to be one of them."""
        is_long_enough = len(data) >= len(self._before) + len(self._after)
        return is_long_enough and data.startswith(self._before) and data.endswith(self._after)

    def taken_from(self, piece: bytes) -> tuple[JsonDict, bytes] | None:
        """Return one event with the texts of all those that a piece begins with, and the rest of the piece; None if it
        begins with none. Raises ValueError if one is not sound.
        """
        if not piece.startswith(_BEGINNING + self._before):
            return None
        # Not at all that stands between two texts: the more a search looks for, the longer it takes to begin.
        *events, last = piece[len(_BEGINNING) :].split(_BETWEEN)
        count = len(events)
        while count > max(0, len(events) - _OTHERS_BEHIND) and not self.has(events[count - 1]):
            count -= 1
        first, behind = len(self._before), -len(self._after)
        texts = [event[first:behind] for event in events[:count]]
        if texts and not piece.startswith(self._written(texts)):
            count = sum(1 for _ in takewhile(self.has, events))
            del texts[count:]
        if count == len(events) and last.startswith(self._before):
            text, tail, rest = last[first:].partition(self._tail)
            if tail and b'"' not in text and b"\n" not in text:
                return self._with([*texts, text]), rest
        return (self._with(texts), _BEGINNING + _BETWEEN.join([*events[count:], last])) if texts else None

    def _written(self, texts: list[bytes]) -> bytes:
        """Return the events with these texts as they are sent."""
        between = self._after + _BETWEEN + self._before
        return b"%b%b%b%b" % (_BEGINNING, self._before, between.join(texts), self._tail)

    def _with(self, texts: list[bytes]) -> JsonDict:
        self._delta[self._name] = _joined(texts)
        return self._chunk


def _only_text(chunk: JsonDict) -> str | None:
    """Return the name of the text that an event brings, if that is all it brings to the only choice that it has."""
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        return None
    brought = [name for name, value in delta.items() if value and name != "role"]
    return brought[0] if len(brought) == 1 and brought[0] in _TEXTS and isinstance(delta[brought[0]], str) else None


def _joined(texts: list[bytes]) -> str:
    """Return the texts within JSON strings as one. Each has to be sound by itself, so a line's end parts them."""
    lines = b"\n".join(texts)
    if lines.count(b"\n") >= len(texts) or _LINES_OF_TEXT.fullmatch(lines) is None:
        raise ValueError
    text = lines.decode().replace("\n", "")
    return json.loads(f'"{text}"') if "\\" in text else text
