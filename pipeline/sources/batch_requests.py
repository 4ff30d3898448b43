"""Request files of OpenAI's Batch API: JSONL whose lines hold a `custom_id` and the body of a request.

The rows have two columns, `custom_id` and `body`; the body is JSON text in the batches, as `json_columns` describes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.records import JsonObject
from pipeline.sources import jsonl
from pipeline.sources.chunks import FileReader
from pipeline.sources.files import InputFile, watched
from pipeline.sources.json_columns import json_field

ID_COLUMN = "custom_id"
BODY_COLUMN = "body"
METHOD, URL = "POST", "/v1/chat/completions"

_SCHEMA = pa.schema([pa.field(ID_COLUMN, pa.string()), json_field(BODY_COLUMN, "text")])


def readers(files: Sequence[InputFile], models: Iterable[str]) -> list[FileReader]:
    """Check every line of the files, which are for `models`.

    Raises InvalidJob, with the line, at what is no request that the pipeline can send as it is.
    """
    for file in files:
        with watched(file):
            for place, line in jsonl.objects(file):
                if problem := _problem(line) or _problem_of_body(line[BODY_COLUMN], models):
                    raise place.error(*problem)
    written = pa.schema(field.remove_metadata() for field in _SCHEMA)
    return [FileReader(file, written, partial(jsonl.chunks, file, _SCHEMA)) for file in files]


def _problem(line: JsonObject) -> tuple[str, str] | None:
    """Return what is wrong with a line but for its body, and what to do about it."""
    custom_id = line.get(ID_COLUMN)
    if not isinstance(custom_id, str) or not custom_id:
        return "the line has no custom_id that is text", 'give each request one of its own: {"custom_id": "…", …}'
    for name, wanted in (("method", METHOD), ("url", URL)):
        if line.get(name) != wanted:
            return f"the request's {name} is not {wanted}", f'only requests with "{name}": "{wanted}" can be sent'
    if not isinstance(line.get(BODY_COLUMN), dict):
        return "the request has no body that is an object", 'a body is {"model": "…", "messages": […]}'
    return None


def _problem_of_body(body: Any, models: Iterable[str]) -> tuple[str, str] | None:
    model = body.get("model")
    for asked in models:
        if model is not None and model != asked:
            return f"the body's model is not {asked}, the job's", "leave it out there, or change `endpoint.model`"
    if body.get("stream") not in (None, False):
        return "the body asks for a stream", "leave `stream` out of the body; `endpoint.stream` is for all requests"
    count = body.get("n")
    if count is not None and (count != 1 or isinstance(count, bool)):
        return "the body's `n` is not 1", "each request has one answer; write a line for each that you want"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        return (
            "the body's messages are not a list of {role, content}",
            "write them as the chat completions API has them",
        )
    return None


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content = message.get("content")
    return content is None or isinstance(content, str) or _are_parts(content)


def _are_parts(content: Any) -> bool:
    return isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text", ""), str) and isinstance(part.get("image_url", {}), dict)
        for part in content
    )
