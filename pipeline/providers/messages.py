"""The error message of a reply without an answer, in whatever form servers and gateways send it.

`error` as an object or text is OpenAI's form, `detail` FastAPI's, `title` and `detail` those of RFC 9457, `errors` that
of Workers AI; Baidu has `error_msg`, AWS `Message`, OpenRouter `metadata.raw`, Apigee `fault.faultstring`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from itertools import islice
from typing import Any

from pipeline.records import JsonObject

MAX_MESSAGE = 300
"""The most characters of an endpoint's own words that are kept: it may quote the prompt."""

_MAX_LEVELS = 8
_MAX_ERRORS = 20
_MAX_TEXT = 10 * MAX_MESSAGE
_MAX_JSON_TEXT = 100_000

# Names are compared without case, underscores and hyphens.
_CODES = ("code", "errorcode")
_MESSAGES = ("message", "msg", "errormsg", "errormessage", "errordescription", "faultstring", "htmlmessage")
_FURTHER_IN = ("errors", "error", "detail", "fault", "metadata", "raw")
_LAST_RESORTS = ("messages", "description", "reason", "title")

_GATEWAY_TEXT = re.compile(r"\s*error code: \d{3,4}\s*", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)\b[^<>]{0,200}>([^<>]{1,300})</\1", re.IGNORECASE)


def errors_of(document: Any) -> list[tuple[str, str]]:
    """Return each (code, message) that a reply's JSON value holds, at most 20; either may be empty."""
    return list(islice(dict.fromkeys(_errors(document, 0)), _MAX_ERRORS))


def describe(status: int, headers: Mapping[str, str], text: str, document: Any) -> str:
    """Return what happened, in the endpoint's own words where it gives any: at most MAX_MESSAGE printable characters.

    A 2xx that is not JSON is never quoted: it may be an answer.
    """
    is_success = 200 <= status < 300
    # A bare text is one in JSON's quotes.
    errors = [] if is_success and isinstance(document, str) else errors_of(document)
    words = "; ".join(": ".join(filter(None, error)) for error in errors if any(error))
    if not words and document is None:
        words = _shape(headers, text, is_success)
    elif not words:
        words = "no usable result in the reply" if is_success else "no error message in the reply"
    if 300 <= status < 400:
        words = "; ".join(["a redirect, which is never followed", *([words] if errors else [])])
    return printable(f"HTTP {status}: {words}")


def is_from_gateway(headers: Mapping[str, str], text: str) -> bool:
    """Return whether the body is a gateway's page or its bare `error code: 502`."""
    return _is_html(headers, text) or _GATEWAY_TEXT.fullmatch(text, 0, 100) is not None


def printable(text: str) -> str:
    """Return at most MAX_MESSAGE characters of the text, with escapes for those that cannot be printed."""
    characters = (
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text[:MAX_MESSAGE]
    )
    return "".join(characters)[:MAX_MESSAGE]


def _errors(value: Any, level: int) -> Iterator[tuple[str, str]]:
    if level > _MAX_LEVELS:
        return
    if isinstance(value, str):
        yield from _in_text(value, level) or ([("", value[:_MAX_TEXT])] if value.strip() else [])
    elif isinstance(value, list):
        for entry in value[:_MAX_ERRORS]:
            yield from _errors(entry, level + 1)
    elif isinstance(value, dict):
        yield from _in_object(value, level)


def _in_object(value: JsonObject, level: int) -> Iterator[tuple[str, str]]:
    fields = {re.sub("[_-]", "", name[:40]).lower(): item for name, item in value.items() if item not in (None, "", [])}
    is_found = False
    for name in _FURTHER_IN:
        for error in _errors(fields.get(name), level + 1):
            is_found = True
            yield error
    code = next(filter(None, (_word(fields.get(name)) for name in _CODES)), "")
    message = next((fields[name] for name in _MESSAGES if isinstance(fields.get(name), str)), "")
    if message and (inner := _in_text(message, level)):
        yield from ((inner_code or code, words) for inner_code, words in inner)
    elif message or (code and level):  # a code at the top is that of an error below, or none
        place = fields.get("loc")
        where = ".".join(str(part)[:40] for part in place[:5]) if isinstance(place, list) else ""
        yield code, ": ".join(filter(None, [where, message[:_MAX_TEXT]]))
    elif not is_found and level and fields and all(map(_is_texts, fields.values())):
        # ASP.NET's `errors`: for each field a list of texts.
        for name, texts in islice(fields.items(), _MAX_ERRORS):
            yield from (("", f"{name}: {text[:_MAX_TEXT]}") for text in texts[:_MAX_ERRORS])
    elif not is_found:
        for name in _LAST_RESORTS:
            yield from _errors(fields.get(name), level + 1)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _in_text(text: str, level: int) -> list[tuple[str, str]]:
    """Return the errors of an object or list that is JSON text inside the reply."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _MAX_JSON_TEXT:
        return []
    try:
        return list(_errors(json.loads(text, strict=False), level + 1))
    except (ValueError, RecursionError):
        return []


def _word(value: Any) -> str:
    is_word = isinstance(value, (str, int)) and not isinstance(value, bool)
    return str(value)[:_MAX_TEXT] if is_word else ""


def content_type(headers: Mapping[str, str]) -> str:
    """Return the value of Content-Type in lower case, empty if there is none."""
    return next((value for name, value in headers.items() if name.lower() == "content-type"), "").lower()


def _is_html(headers: Mapping[str, str], text: str) -> bool:
    return "html" in content_type(headers) or text.lstrip()[:1] == "<"


def _shape(headers: Mapping[str, str], text: str, is_success: bool) -> str:
    start = text.lstrip()[:_MAX_TEXT]
    if not start:
        return "an empty body"
    if _is_html(headers, text):
        title = _TITLE.search(text, 0, _MAX_JSON_TEXT)
        words = " ".join(unescape(title[2]).split()) if title else ""
        return f"an HTML page instead of JSON: {words}" if words else "an HTML page instead of JSON"
    if "event-stream" in content_type(headers):
        return "a stream of events instead of one JSON value"
    return "a body that is not JSON" if is_success else start.rstrip()
