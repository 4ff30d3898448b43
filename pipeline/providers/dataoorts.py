"""The Dataoorts endpoint: the envelope it documents, and what its likeness to Workers AI makes probable."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from msgspec import Struct

from pipeline.providers import openai
from pipeline.providers.finish import finish_reason
from pipeline.providers.interface import Provider, WireSettings
from pipeline.providers.parameters import ParameterRange
from pipeline.providers.replies import Answer, first_text, parse_response, read_response
from pipeline.records import Failure, JsonObject, Reply, Request

PARAMETERS: Mapping[str, ParameterRange] = MappingProxyType(
    {
        "temperature": ParameterRange(0, 5, integer=False),
        "top_p": ParameterRange(0, 2, integer=False),
        "top_k": ParameterRange(1, 50, integer=True),
        "max_tokens": ParameterRange(1, None, integer=True),
        "seed": ParameterRange(1, 9_999_999_999, integer=True),
        "repetition_penalty": ParameterRange(0, 2, integer=False),
        "frequency_penalty": ParameterRange(0, 2, integer=False),
        "presence_penalty": ParameterRange(0, 2, integer=False),
    }
)
"""The ranges Dataoorts documents for its endpoint, whatever the model. The order is the one requests are built in."""


class Dataoorts(Struct, frozen=True):
    """`POST url` with `{"model", "data": {"messages", …parameters}}`."""

    url: str
    kind: str = "dataoorts"
    splits_reasoning: bool = False
    turned_away: ClassVar[frozenset[int]] = frozenset()

    def payload(self, request: Request) -> JsonObject:
        """Return the body to send, as a JSON value."""
        data = {"messages": list(request.messages), **request.parameters, **request.extra_body}
        return {"model": request.model, "data": data}

    def assembly(self, status: int, headers: Mapping[str, str]) -> None:
        """Return None: no reply of this kind is a stream."""

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply | Failure:
        """Return the typed result of a whole response. Never raises, whatever the bytes."""
        return parse_response(status, headers, body, find_answer, splits_reasoning=self.splits_reasoning)

    def read(self, status: int, document: object) -> Reply | Failure:
        """Return the same of a response whose body is a JSON value already. Never raises."""
        return read_response(status, {}, document, find_answer, splits_reasoning=self.splits_reasoning)


def find_answer(document: JsonObject) -> Answer:
    """Return the answer inside `{"success", "result": {"response", "tool_calls", "usage"}}`.

    Workers AI gives the newer of its models' answers as OpenAI's `choices`, inside `result`.
    """
    result = document.get("result")
    if not isinstance(result, dict):
        return Answer(usage=document.get("usage"))
    if "response" not in result and "choices" in result:
        return openai.find_answer(result)
    tool_calls, refusal = result.get("tool_calls"), result.get("refusal")
    reasoning = first_text([result.get("reasoning_content"), result.get("reasoning")])
    is_there = "response" in result or tool_calls or reasoning or refusal
    return Answer(
        found=document.get("success") is not False and bool(is_there),
        response=result.get("response"),
        tool_calls=tool_calls,
        usage=result.get("usage"),
        finish_reason=finish_reason(result.get("finish_reason")),
        reasoning=reasoning,
        refusal=refusal,
        model=result.get("model"),
    )


def _wire(settings: WireSettings) -> Dataoorts:
    return Dataoorts(settings.url, splits_reasoning=settings.splits_reasoning)


PROVIDER = Provider(
    name="dataoorts",
    title="Dataoorts",
    wire=_wire,
    parameters=PARAMETERS,
    embedded_path="/api/v1",
    url="https://cloud.dataoorts.com/api/v1",
    key_variable="DATAOORTS_API_KEY",
    needs_key=True,
    lists_models=True,
    schema_form=lambda schema: {"type": "json_schema", "json_schema": schema},
)
