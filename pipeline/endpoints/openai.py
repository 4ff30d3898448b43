"""Any OpenAI-compatible chat/completions server.

Source: OpenAI's API reference, "Create chat completion"; vLLM and others follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pipeline.endpoints.replies import Answer, parse_response
from pipeline.records import Failure, Reply, Request

_PATH = "/chat/completions"


class OpenAI:
    """`POST url` with `{"model", "messages", …parameters}`; takes the server's base (`…/v1`) or the whole address."""

    kind = "openai"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        self.url = urlunsplit(parts._replace(path=path if path.endswith(_PATH) else path + _PATH))

    def payload(self, request: Request) -> dict[str, Any]:
        """The body to send, as a JSON value."""
        return {"model": request.model, "messages": list(request.messages), **request.parameters}

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply | Failure:
        """The typed result of a whole response. Never raises, whatever the bytes."""
        return parse_response(status, headers, body, find_answer)


def find_answer(document: Mapping[str, Any]) -> Answer:
    """The answer inside `{"choices": [{"message": {"content", "tool_calls"}, "finish_reason"}], "usage"}`."""
    usage = document.get("usage")
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        return Answer(usage=usage)
    return Answer(
        found=not document.get("error") and ("content" in message or bool(message.get("tool_calls"))),
        response=message.get("content"),
        tool_calls=message.get("tool_calls"),
        usage=usage,
        finish_reason=choice.get("finish_reason"),
    )
