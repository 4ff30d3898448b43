"""A `messages` column: a list of {role, content} (structs or maps), or JSON text of one, as the messages of a request.

Other keys are refused, unless they are null (a Parquet struct has all of its fields in every row): a request holds
roles and contents only, so what is dropped here would change the answer without changing the request's hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import ErrorKind
from pipeline.prompts.failures import PromptFailure
from pipeline.prompts.texts import is_blank
from pipeline.records import JsonObject, Message
from pipeline.surrogates import well_formed

ROLES = ("system", "user", "assistant")


def read_messages(value: Any) -> tuple[Message, ...]:
    """Return the messages of one cell.

    Raises PromptFailure: EMPTY_PROMPT if it is null, empty, or says nothing outside of system messages; PROMPT_ERROR if
    it is not a list of messages.
    """
    entries = _entries(value)
    messages = [_message(position, entry) for position, entry in enumerate(entries, 1)]
    if all(message["role"] == "system" or _says_nothing(message["content"]) for message in messages):
        raise PromptFailure(ErrorKind.EMPTY_PROMPT, "the messages are empty")
    for position, entry in enumerate(entries, 1):
        if entry.get("content") is None:
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


def _message(position: int, entry: Any) -> Message:
    place = f"message {position}"
    fields = _fields(entry, {"role", "content"}, place)
    if fields.get("role") == "tool":
        raise _failure(
            f"{place} is a tool's, which needs the call that it answers; conversations with tools are not sent"
        )
    if fields.get("role") not in ROLES:
        raise _failure(f"{place} has no role of {', '.join(ROLES)}")
    content = fields.get("content")
    if isinstance(content, (list, tuple)):
        return Message(role=fields["role"], content=[_part(place, part) for part in content])
    if content is not None and not isinstance(content, str):
        raise _failure(f"{place} has a content that is neither text nor a list of parts")
    return Message(role=fields["role"], content=well_formed(content or ""))


def _part(place: str, value: Any) -> JsonObject:
    fields = _fields(value, {"type", "text", "image_url"}, f"a part of {place}")
    text, image = fields.get("text"), fields.get("image_url")
    if fields.get("type") == "text" and isinstance(text, str) and image is None:
        return {"type": "text", "text": well_formed(text)}
    if fields.get("type") != "image_url" or text is not None:
        raise _failure(f"a part of {place} is neither {{type: text, text}} nor {{type: image_url, image_url: {{url}}}}")
    image_fields = _fields(image, {"url", "detail"}, f"an image of {place}")
    if not all(isinstance(field, str) for field in image_fields.values()):
        raise _failure(f"an image of {place} is not a {{url}}")
    if not image_fields.get("url", "").startswith("data:image/"):
        raise _failure(f"an image of {place} is not a data: URL; only embedded images are sent, so embed it")
    return {"type": "image_url", "image_url": {name: well_formed(field) for name, field in image_fields.items()}}


def _fields(value: Any, known: set[str], place: str) -> JsonObject:
    value = _mapping(value)
    if not isinstance(value, Mapping):
        raise _failure(f"{place} is not a mapping")
    fields = {name: field for name, field in value.items() if field is not None}
    if not fields.keys() <= known:
        raise _failure(f"{place} has keys other than {', '.join(sorted(known))}")
    return fields


def _says_nothing(content: str | list[JsonObject]) -> bool:
    if isinstance(content, str):
        return is_blank(content)
    return all(part["type"] == "text" and is_blank(part["text"]) for part in content)


def _failure(message: str) -> PromptFailure:
    return PromptFailure(ErrorKind.PROMPT_ERROR, message, key="prompt.messages")
