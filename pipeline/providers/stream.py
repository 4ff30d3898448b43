"""A streamed chat completion, assembled into the reply that it would have been in one piece.

Source: OpenAI's API reference, "Streaming"; the usage comes in the last chunk, which has no choices. Groq has it under
`x_groq`. vLLM and others send an error as an event of its own, with `error` or `"object": "error"`.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec.json import decode as from_json

from pipeline.providers.alike import Alike, JsonDict
from pipeline.providers.documents import json_text
from pipeline.providers.events import EventReader
from pipeline.providers.messages import errors_of
from pipeline.providers.replies import is_error

_DONE = b"[DONE]"
_END_OF_EVENT = b"\n\n"
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_SECONDS_BEHIND_THE_END = 1.0
_BYTES_AT_ONCE = 2**16
"""The most that is looked through for events that are alike, however many have come."""
_FEW_BYTES = 2**10
"""Where so few come at a time, looking for such events takes longer than it saves."""
_CHANCES = 8
_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda _: None)


class Assembly:
    """What has come of one reply so far. Never raises, whatever the bytes."""

    def __init__(self) -> None:
        self._events = EventReader()
        self._texts: dict[str, list[str]] = {}
        self._parts: list[Any] = []
        self._calls: dict[int, JsonDict] = {}
        self._choice: JsonDict = {}
        self._has_choice = False
        self._envelope: JsonDict = {}
        self._error: Any = None
        self._is_done = False
        self._alike: Alike | None = None
        self._chances = _CHANCES
        """How many more events may be others than the one before, until each is decoded by itself."""
        self.is_readable = True
        """Whether every event so far is one of a chat completion."""

    @property
    def has_ended(self) -> bool:
        """Whether the reply is complete: its end, a finish reason or an error has come."""
        return self._is_done or self._error is not None or "finish_reason" in self._choice

    @property
    def has_failed(self) -> bool:
        """Whether an error has come in place of the end."""
        return self._error is not None

    @property
    def has_words(self) -> bool:
        """Whether anything of an answer has come."""
        return bool(self._calls or self._parts or any(any(pieces) for pieces in self._texts.values()))

    @property
    def patience(self) -> float | None:
        """How many seconds to wait for more; None if that is not for the stream to say.

        Behind `[DONE]` nothing comes but the end of the body, which some gateways never send.
        """
        return _SECONDS_BEHIND_THE_END if self._is_done else None

    def feed(self, piece: bytes) -> None:
        """Take in the next bytes of the body."""
        start = 0
        while self._chances and len(piece) - start > _FEW_BYTES:
            # To the end of an event, because those that are cut are decoded by themselves.
            end = piece.rfind(_END_OF_EVENT, start, start + _BYTES_AT_ONCE) + len(_END_OF_EVENT)
            end = end if end > start + _FEW_BYTES else start + _BYTES_AT_ONCE
            self._take_many(piece[start:end])
            start = end
        for name, data in self._events.feed(piece[start:]):
            self._take(name, data)

    def end(self) -> None:
        """Take in that nothing more comes."""
        for name, data in self._events.end():
            self._take(name, data)

    def body(self) -> bytes:
        """Return the JSON of the reply in one piece, or of the error that came in its place."""
        if self._error is not None:
            return json_text({"error": self._error, **self._envelope}).encode()
        message: JsonDict = {"role": "assistant"}
        message |= {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self._parts:
            text = message.pop("content", "")
            message["content"] = [*self._parts, *([{"type": "text", "text": text}] if text else [])]
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        choices = [{"index": 0, "message": message, **self._choice}] if self._has_choice else []
        return json_text({**self._envelope, "choices": choices}).encode()

    def _take_many(self, piece: bytes) -> None:
        while piece := self._without_alike(piece):
            event, end, piece = piece.partition(_END_OF_EVENT) if self._chances else (piece, b"", b"")
            for name, data in self._events.feed(event + end):
                chunk = self._take(name, data)
                if chunk is not None and self._chances and not (self._alike and self._alike.has(data)):
                    self._alike = Alike.of(data, chunk)
                    self._chances -= 1

    def _without_alike(self, piece: bytes) -> bytes:
        """Take in the events at the beginning of a piece that are like one before them, and return the rest."""
        if self._alike is None or not self._events.is_between or self.has_failed or self._is_done:
            return piece
        try:
            found = self._alike.taken_from(piece)
        except ValueError:
            self._alike, self._chances = None, 0
            return piece
        if found is None:
            return piece
        chunk, rest = found
        self._take_chunk(chunk)
        if len(rest) <= len(piece) // 2:  # else a piece might be looked through for each few of its events
            self._chances = _CHANCES
        return rest

    def _take(self, name: str, data: bytes) -> JsonDict | None:
        """Take in an event, and return its chunk if it is one."""
        data = data.strip()
        if not data or self.has_failed or self._is_done:
            return None
        if data == _DONE:
            self._is_done = True
            return None
        try:
            chunk = _read(data)
        except (ValueError, RecursionError):
            chunk = data.decode("utf-8", "replace") if name == "error" else None
        if (name == "error" or _tells_error(chunk)) and "finish_reason" not in self._choice:
            self._error = chunk.get("error") or chunk if isinstance(chunk, dict) else chunk or "no words"
        elif not isinstance(chunk, dict):
            self.is_readable = False
        else:
            self._take_chunk(chunk)
            return chunk
        return None

    def _take_chunk(self, chunk: JsonDict) -> None:
        if isinstance(chunk.get("model"), str) and chunk["model"]:
            self._envelope["model"] = chunk["model"]
        groq = chunk.get("x_groq")
        usage = chunk.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None)
        if usage:
            self._envelope["usage"] = usage
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._take_choice(choice)

    def _take_choice(self, choice: JsonDict) -> None:
        self._has_choice = True
        for name in ("finish_reason", "error"):
            if choice.get(name):
                self._choice[name] = choice[name]
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict) and len(delta) == 1 and isinstance(text := delta.get("content"), str):
            self._texts.setdefault("content", []).append(text)  # as nearly all are
            return
        if not isinstance(delta, dict):
            delta = {"content": choice["text"]} if "text" in choice else {}
        for name in _TEXTS:
            if isinstance(text := delta.get(name), str):
                self._texts.setdefault(name, []).append(text)
        if isinstance(delta.get("content"), list):
            self._parts += delta["content"]
        calls = delta.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else []):
            if isinstance(call, dict):
                self._take_call(position, call)

    def _take_call(self, position: int, piece: JsonDict) -> None:
        index = piece.get("index")
        call = self._calls.setdefault(index if isinstance(index, int) else position, {})
        function = piece.get("function")
        call |= {name: piece[name] for name in ("id", "type") if piece.get(name)}
        if not isinstance(function, dict):
            return
        made = call.setdefault("function", {"name": "", "arguments": ""})
        for name in ("name", "arguments"):
            if isinstance(function.get(name), str):
                made[name] += function[name]
            elif function.get(name) is not None:  # arguments as an object, in one piece
                made[name] = function[name]


def _read(data: bytes) -> Any:
    """Return the JSON value of an event. Raises ValueError and RecursionError where it is none."""
    try:
        return from_json(data)  # in a third of the time
    except ValueError:
        return _DECODER.decode(data.decode("utf-8", "replace"))


def _tells_error(chunk: Any) -> bool:
    if not isinstance(chunk, dict):
        return False
    error = chunk.get("error")
    return (error is not None and is_error(error)) or ("choices" not in chunk and bool(errors_of(chunk)))
