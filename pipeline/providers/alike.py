"""Events of a stream that differ in one text alone, read together: nearly all of an answer's are such.

A server repeats the id, the model and whatever else stands around the text. So what stands between two texts becomes a
line's end, in one pass, and the lines are decoded as one text. No event is decoded by itself.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from itertools import takewhile
from typing import Any

from msgspec.json import decode as from_json

_TEXTS = ("content", "reasoning_content", "reasoning")
_ESCAPE = rb'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})'
_LITERAL = rb'"%s"\s*:\s*"()(?:[^"\\\x00-\x1f]++|' + _ESCAPE + rb')*+()"'
"""A name and its text; the empty groups are where the text begins and ends."""
_LITERALS = {name: re.compile(_LITERAL % name.encode()) for name in _TEXTS}
_LINES_OF_TEXT = re.compile(rb'(?:[^"\\\x00-\x09\x0b-\x1f]++|' + _ESCAPE + rb")*+")
_NOT_ITSELF = bytes(range(0x20)) + b'"\\'
"""What within a JSON string does not stand for itself."""

_BEGINNING = b"data: "
_END = b"\n\n"
_BETWEEN = _END + _BEGINNING

JsonDict = dict[str, Any]
"""The JSON object of an event, or one that is put together of many."""


class Alike:
    """All events that are like one but for its text. To take in many is to take in one that has the texts of all."""

    def __init__(self, before: bytes, after: bytes, chunk: JsonDict, name: str) -> None:
        self._before = before
        self._after = after
        self._head = _BEGINNING + before
        self._tail = after + _END
        self._between = self._tail + self._head
        known = self._between.index(b'"', 1) + 1  # two quotes, as no text has them
        self._parting = _parting(self._between[:known], len(self._between) - known)
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
            emptied = from_json(before + after)
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
        end = piece.rfind(self._tail)
        if end < 0 or not piece.startswith(self._head):
            return None
        lines = self._parting.sub(b"\n", piece[len(self._head) : end])
        length = self._length_in(piece, lines)
        if not length:
            events = piece[len(_BEGINNING) : end + len(self._after)].split(_BETWEEN)
            texts = [event[len(self._before) : -len(self._after)] for event in takewhile(self.has, events)]
            if not texts:
                return None
            lines = b"\n".join(texts)
            length = self._length_in(piece, lines)
            if not length:
                raise ValueError
        self._delta[self._name] = _joined(lines)
        return self._chunk, piece[length:]

    def _length_in(self, piece: bytes, lines: bytes) -> int:
        """Return how many bytes of a piece are the events with these texts; 0 if it does not begin with them."""
        length = len(self._head) + len(lines) + lines.count(b"\n") * (len(self._between) - 1) + len(self._tail)
        if length > len(piece):
            return 0
        written = b"%b%b%b" % (self._head, lines.replace(b"\n", self._between), self._tail)
        return length if piece.startswith(written) else 0


@lru_cache
def _parting(known: bytes, more: int) -> re.Pattern[bytes]:
    """Return a pattern of what stands between two texts: its beginning, and as many bytes as follow, whatever they are.

    Those need not be looked at, because in the end all is compared with what the texts make.
    """
    return re.compile(re.escape(known) + rb"(?s:.{%d})" % more)


def _only_text(chunk: JsonDict) -> str | None:
    """Return the name of the text that an event brings, if that is all it brings to the only choice that it has."""
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        return None
    brought = [name for name, value in delta.items() if value and name != "role"]
    return brought[0] if len(brought) == 1 and brought[0] in _TEXTS and isinstance(delta[brought[0]], str) else None


def _joined(lines: bytes) -> str:
    """Return the texts within JSON strings as one. Each has to be sound by itself, so a line's end parts them.

    Raises ValueError if one is not.
    """
    text = lines.decode()
    joined = lines.translate(None, _NOT_ITSELF)
    if len(joined) + lines.count(b"\n") == len(lines):
        return joined.decode()
    if _LINES_OF_TEXT.fullmatch(lines) is None:
        raise ValueError
    without_ends = text.replace("\n", "")
    decoded: str = json.loads(f'"{without_ends}"')
    return decoded
