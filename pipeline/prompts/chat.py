"""A `messages` column: a list of messages (structs or maps), or JSON text of one, as the messages of a request.

Beside `role` and `content` a message may have `name`, `tool_calls` and `tool_call_id`. Other keys are refused, unless
they are null (a Parquet struct has all of its fields in every row): what is dropped here would change the answer and
not the request's hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipeline.errors import ErrorKind
from pipeline.prompts.failures import PromptFailure
from pipeline.prompts.texts import is_blank
from pipeline.records import JsonObject, Message, json_text
from pipeline.surrogates import well_formed

ROLES = ("system", "developer", "user", "assistant", "tool")
INSTRUCTING = frozenset({"system", "developer"})
"""The roles whose messages ask nothing."""

_TEXTS: tuple[Literal["name", "tool_call_id"], ...] = ("name", "tool_call_id")
_KEYS = {"role", "content", "tool_calls", *_TEXTS}


def read_messages(value: Any, *, sends_addresses: bool = False) -> tuple[Message, ...]:
    """Return the messages of one cell. With `sends_addresses` an image may be an http(s) address.

    Raises PromptFailure: EMPTY_PROMPT if it is null, empty, or says nothing outside of system messages; PROMPT_ERROR if
    it is not a list of messages.
    """
    entries = _entries(value)
    messages = [_message(position, entry, sends_addresses) for position, entry in enumerate(entries, 1)]
    if all(message["role"] in INSTRUCTING or _says_nothing(message) for message in messages):
        raise PromptFailure(ErrorKind.EMPTY_PROMPT, "the messages are empty")
    for position, message in enumerate(messages, 1):
        if "content" not in message and "tool_calls" not in message:
            raise _failure(f"message {position} has no content")
    return tuple(messages)


def _entries(value: Any) -> Sequence[Any]:
    # Twice: what JSON text becomes that is written into JSON once more.
    for _ in range(2):
        if isinstance(value, str):
            if is_blank(value):
                return ()
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise _failure("the messages are not JSON text") from None
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise _failure("the messages are not a list of {role, content}")
    return [_mapping(entry) for entry in value]


def _mapping(value: Any) -> Any:
    """Return an Arrow map, which is a list of pairs, as a mapping; any other value unchanged."""
    if isinstance(value, list) and value and all(isinstance(entry, tuple) and len(entry) == 2 for entry in value):
        fields = dict(value)
        return fields if len(fields) == len(value) else value
    return value


def _message(position: int, entry: Any, sends_addresses: bool) -> Message:
    place = f"message {position}"
    fields = _fields(entry, _KEYS, place)
    role = fields.get("role")
    if role not in ROLES:
        raise _failure(f"{place} has no role of {', '.join(ROLES)}")
    message = Message(role=role)
    content = fields.get("content")
    if isinstance(content, (list, tuple)):
        message["content"] = [_part(place, part, sends_addresses) for part in content]
    elif isinstance(content, str):
        message["content"] = well_formed(content)
    elif content is not None:
        raise _failure(f"{place} has a content that is neither text nor a list of parts")
    calls = _tool_calls(place, fields.get("tool_calls"))
    if calls and role != "assistant":
        raise _failure(f"{place} has tool_calls, which only an assistant makes")
    if calls:
        message["tool_calls"] = calls
    for name in _TEXTS:
        if (text := fields.get(name)) is not None:
            if not isinstance(text, str):
                raise _failure(f"{place} has a {name} that is not text")
            message[name] = well_formed(text)
    if "tool_call_id" in message and role != "tool":
        raise _failure(f"{place} has a tool_call_id, which only a tool's message has")
    return message


def _tool_calls(place: str, value: Any) -> list[JsonObject]:
    """Return tool calls in OpenAI's form, whichever of the usual ones they have: arguments are JSON text there."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _failure(f"{place} has tool_calls that are not JSON text") from None
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise _failure(f"{place} has tool_calls that are not a list")
    return [_tool_call(f"a tool call of {place}", call) for call in value]


def _tool_call(place: str, value: Any) -> JsonObject:
    fields = _fields(value, {"id", "type", "function", "name", "arguments", "index"}, place)
    function = _fields(fields.get("function", fields), {"name", "arguments", *fields}, place)
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str):
        raise _failure(f"{place} names no function")
    if not isinstance(arguments, str):
        arguments = json_text(_without_nulls(arguments or {}))
    call = {"id": fields["id"]} if "id" in fields else {}
    if not all(isinstance(one, str) for one in call.values()):
        raise _failure(f"{place} has an id that is not text")
    return {**call, "type": "function", "function": {"name": well_formed(name), "arguments": well_formed(arguments)}}


def _without_nulls(value: Any) -> Any:
    """Return the value without keys that are null: Arrow gives each struct the keys of all others."""
    value = _mapping(value)
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, (list, tuple)) else value


def _part(place: str, value: Any, sends_addresses: bool) -> JsonObject:
    fields = _fields(value, {"type", "text", "image_url"}, f"a part of {place}")
    text, image = fields.get("text"), fields.get("image_url")
    if fields.get("type") == "text" and isinstance(text, str) and image is None:
        return {"type": "text", "text": well_formed(text)}
    if fields.get("type") != "image_url" or text is not None:
        raise _failure(f"a part of {place} is neither {{type: text, text}} nor {{type: image_url, image_url: {{url}}}}")
    image_fields = _fields(image, {"url", "detail"}, f"an image of {place}")
    if not all(isinstance(field, str) for field in image_fields.values()):
        raise _failure(f"an image of {place} is not a {{url}}")
    address = image_fields.get("url", "")
    is_sent = sends_addresses and address.startswith(("http://", "https://"))
    if not is_sent and not address.startswith("data:image/"):
        hint = "only embedded images are sent, so embed it, or set prompt.image_urls: send"
        raise _failure(f"an image of {place} is not a data: URL; {hint}")
    return {"type": "image_url", "image_url": {name: well_formed(field) for name, field in image_fields.items()}}


def _fields(value: Any, known: set[str], place: str) -> JsonObject:
    value = _mapping(value)
    if not isinstance(value, Mapping):
        raise _failure(f"{place} is not a mapping")
    fields = {name: field for name, field in value.items() if field is not None}
    if not fields.keys() <= known:
        raise _failure(f"{place} has keys other than {', '.join(sorted(known))}")
    return fields


def _says_nothing(message: Message) -> bool:
    content = message.get("content", "")
    if "tool_calls" in message:
        return False
    if isinstance(content, str):
        return is_blank(content)
    return all(part["type"] == "text" and is_blank(part["text"]) for part in content)


def _failure(message: str) -> PromptFailure:
    return PromptFailure(ErrorKind.PROMPT_ERROR, message, key="prompt.messages")
