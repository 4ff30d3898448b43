"""From the bytes of a response to one typed value, for every kind of endpoint.

Nothing is assumed of any type: what a field may hold is decided by looking at it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.endpoints.faults import classify, counted_status, describe, error_code, is_possibly_billed
from pipeline.errors import ErrorKind
from pipeline.records import NO_USAGE, Failure, Reply, ResponseType, Usage, sound_count

MAX_LEVELS = 1_000
"""The deepest a JSON body may be nested. (Python's own parser may give up a little earlier, which counts the same.)"""

_MOST_DIGITS = 4_300
"""The longest whole number that Python turns into an int (`sys.get_int_max_str_digits`)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Where an endpoint's envelope holds what; `found` tells whether there is a usable result in it."""

    found: bool = False
    response: Any = None
    tool_calls: Any = None
    usage: Any = None
    finish_reason: Any = None


def parse_response(
    status: int, headers: Mapping[str, str], body: bytes, find_answer: Callable[[Mapping[str, Any]], Answer]
) -> Reply | Failure:
    """The typed result of a whole response; `find_answer` knows the envelope."""
    text = decode(headers, body)
    try:
        document = _document(text)
        answer = find_answer(document) if isinstance(document, Mapping) else Answer()
        if 200 <= status < 300 and answer.found:
            return _reply(status, answer)
        usage = read_usage(answer.usage, answered=False) if 200 <= status < 300 else NO_USAGE
    except RecursionError:
        message = f"the reply is nested more than {MAX_LEVELS:,} levels deep"
        return Failure(
            ErrorKind.REPLY_TOO_LARGE, message, http_status=status, possibly_billed=is_possibly_billed(status)
        )
    return Failure(
        classify(status, headers, text, document),
        describe(status, headers, text, document),
        http_status=status,
        usage=usage if usage.is_sound else None,
        possibly_billed=is_possibly_billed(status) and not usage.is_sound,
        counts_as=counted_status(status, document),
        code=error_code(document),
    )


def decode(headers: Mapping[str, str], body: bytes) -> str:
    """The body as text. JSON is UTF-8, whatever charset is named; Latin-1 only where it is named and UTF-8 fails."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        named = next((value for name, value in headers.items() if name.lower() == "content-type"), "").lower()
        is_latin = "charset=iso-8859-1" in named or "charset=latin-1" in named or "charset=latin1" in named
        return body.decode("latin-1") if is_latin else body.decode("utf-8-sig", "replace")


def read_usage(value: Any, *, answered: bool) -> Usage:
    """The counts of a usage object, each None where it is not sound.

    A prompt is never of 0 tokens, so neither is a total; a completion is only where nothing was `answered`.
    """
    if value is None:
        return NO_USAGE
    raw = json_text(value)
    if not isinstance(value, Mapping):
        return Usage(raw=raw)
    completion = sound_count(value.get("completion_tokens"))
    return Usage(
        prompt_tokens=sound_count(value.get("prompt_tokens")) or None,
        completion_tokens=None if completion == 0 and answered else completion,
        total_tokens=sound_count(value.get("total_tokens")) or None,
        raw=raw,
    )


def json_text(value: Any) -> str:
    """The value as compact JSON text, keys in the order they came in."""
    return _encodable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _reply(status: int, answer: Answer) -> Reply:
    response, response_type = _typed(answer.response)
    tool_calls = None if answer.tool_calls in (None, [], "") else json_text(answer.tool_calls)
    return Reply(
        response=response,
        response_type=response_type,
        tool_calls=tool_calls,
        usage=read_usage(answer.usage, answered=response_type != "empty" or tool_calls is not None),
        finish_reason=_encodable(answer.finish_reason) if isinstance(answer.finish_reason, str) else None,
        http_status=status,
    )


def _typed(response: Any) -> tuple[str | None, ResponseType]:
    if response is None:
        return None, "empty"
    if isinstance(response, str):
        return _encodable(response), "text" if response else "empty"
    return json_text(response), "json"


def _document(text: str) -> Any:
    """The JSON value of a body, or None where it is none. Raises RecursionError where it is nested too deeply."""
    try:
        document = json.loads(text, parse_int=_whole_number)
    except ValueError:
        return None
    # Each level takes a bracket, so most bodies are known to be flat without a walk.
    if text.count("[") + text.count("{") > MAX_LEVELS and _levels(document) > MAX_LEVELS:
        raise RecursionError
    return document


def _whole_number(digits: str) -> int | str:
    # As text, a number too long for Python is at least whole.
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _levels(document: Any) -> int:
    levels = 0
    level = [document]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        levels += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return levels


def _encodable(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which cannot be UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
