"""Any OpenAI-compatible chat/completions server.

Source: OpenAI's API reference, "Create chat completion"; vLLM and others follow it. `reasoning_content` is DeepSeek's,
`reasoning` vLLM's and OpenRouter's, a content part of type `thinking` Mistral's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from pipeline.providers.finish import broke_off, explains_emptiness, finish_reason
from pipeline.providers.interface import Provider, WireSettings
from pipeline.providers.messages import content_type
from pipeline.providers.parameters import UNBOUNDED
from pipeline.providers.replies import Answer, first_text, is_error, parse_response, read_response
from pipeline.providers.stream import Assembly
from pipeline.providers.usage import read_usage
from pipeline.records import Failure, JsonObject, Reply, Request

_PATH = "/chat/completions"


class OpenAI:
    """`POST url` with `{"model", "messages", …parameters}`; takes the server's base (`…/v1`) or the full address."""

    kind = "openai"
    turned_away = frozenset({408})
    """vLLM's router answers so where its queue is full (0.1.17, as seen)."""

    def __init__(
        self, url: str, max_tokens_field: str = "max_tokens", *, splits_reasoning: bool = False, streams: bool = False
    ) -> None:
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        self.url = urlunsplit(parts._replace(path=path if path.endswith(_PATH) else path + _PATH))
        self._max_tokens_field = max_tokens_field
        self._splits_reasoning = splits_reasoning
        self._streams = streams

    def payload(self, request: Request) -> JsonObject:
        """Return the body to send, as a JSON value. Some servers stream unless they are told not to."""
        parameters = dict(request.parameters)
        if "max_tokens" in parameters:
            parameters[self._max_tokens_field] = parameters.pop("max_tokens")
        messages = list(request.messages)
        body = {"model": request.model, "messages": messages, **parameters, **request.extra_body}
        if self._streams:
            return {**body, "stream": True, "stream_options": {"include_usage": True}}
        return {**body, "stream": False}

    def assembly(self, status: int, headers: Mapping[str, str]) -> Assembly | None:
        """Return what puts a stream of events together. Some servers stream, or do not, whatever they are asked for."""
        named = content_type(headers)
        is_stream = "event-stream" in named or (self._streams and named.partition(";")[0].strip() in ("", "text/plain"))
        return Assembly() if is_stream and 200 <= status < 300 else None

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply | Failure:
        """Return the typed result of a whole response. Never raises, whatever the bytes."""
        return parse_response(status, headers, body, find_answer, splits_reasoning=self._splits_reasoning)

    def read(self, status: int, document: object) -> Reply | Failure:
        """Return the same of a response whose body is a JSON value already. Never raises."""
        return read_response(status, {}, document, find_answer, splits_reasoning=self._splits_reasoning)


def find_answer(document: JsonObject) -> Answer:
    """Return the answer inside `{"choices": [{"message": {"content", "tool_calls"}, "finish_reason"}], "usage"}`.

    A choice without content is an answer where anything else shows that the model was at work: its reasoning, its
    refusal, what was billed, or a finish reason that explains it.
    """
    usage = document.get("usage")
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or is_error(document.get("error")):
        return Answer(usage=usage)
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice["text"]} if "text" in choice else {}
    content = message.get("content")
    parts = None if isinstance(content, str) else _Parts.of(content)
    reason = finish_reason(choice.get("finish_reason"))
    thinking = [message.get("reasoning_content"), message.get("reasoning"), parts.thinking if parts else None]
    tool_calls, reasoning, error = message.get("tool_calls"), first_text(thinking), choice.get("error")
    refusal = message.get("refusal") or (parts.refusal if parts else None)
    found = (
        "content" in message
        or any((tool_calls, reasoning, refusal, error))
        or explains_emptiness(reason)
        or broke_off(reason)
        or read_usage(usage, answered=False).is_priceable
    )
    response = content if parts is None else parts.text
    return Answer(found, response, tool_calls, usage, reason, reasoning, refusal, document.get("model"), error)


class _Parts(Struct, frozen=True):
    """Content that came as a list of typed parts."""

    text: str
    thinking: str
    refusal: str

    @classmethod
    def of(cls, content: Any) -> _Parts | None:
        """Return the parts, or None if the content does not consist of known ones."""
        if not isinstance(content, list):
            return None
        found = {"text": "", "thinking": "", "refusal": ""}
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            name = "text" if kind == "output_text" else kind
            if name not in found:
                return None
            value = part.get(name)
            inner = cls.of(value) if name == "thinking" else None
            value = inner.text if inner else value
            if not isinstance(value, str):
                return None
            found[name] += value
        return cls(**found)


def _wire(settings: WireSettings) -> OpenAI:
    return OpenAI(
        settings.url,
        settings.max_tokens_field,
        splits_reasoning=settings.splits_reasoning,
        streams=settings.streams,
    )


def _schema_form(schema: JsonObject) -> JsonObject:
    """Return the schema with a name, as OpenAI's API reference has it ("Structured Outputs")."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": False}}


PROVIDER = Provider(
    name="openai",
    title="an OpenAI-compatible server",
    wire=_wire,
    parameters=UNBOUNDED,
    embedded_path="/v1",
    takes_servers=True,
    shows_load=True,
    takes_batches=True,
    streams=True,
    renames_max_tokens=True,
    schema_form=_schema_form,
    always_takes_schemas=True,
)
