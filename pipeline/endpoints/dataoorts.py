"""The Dataoorts endpoint: the envelope it documents, and what its likeness to Workers AI makes probable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.endpoints import openai
from pipeline.endpoints.replies import Answer, first_text, parse_response
from pipeline.records import Failure, Reply, Request


@dataclass(frozen=True, slots=True)
class Dataoorts:
    """`POST url` with `{"model", "data": {"messages", …parameters}}`."""

    url: str
    kind: str = "dataoorts"
    splits_reasoning: bool = False

    def payload(self, request: Request) -> dict[str, Any]:
        """The body to send, as a JSON value."""
        data = {"messages": list(request.messages), **request.parameters, **request.extra_body}
        return {"model": request.model, "data": data}

    def assembly(self, status: int, headers: Mapping[str, str]) -> None:
        """None: no reply of this kind is a stream."""

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply | Failure:
        """The typed result of a whole response. Never raises, whatever the bytes."""
        return parse_response(status, headers, body, find_answer, splits_reasoning=self.splits_reasoning)


def find_answer(document: Mapping[str, Any]) -> Answer:
    """Return the answer inside `{"success", "result": {"response", "tool_calls", "usage"}}`.

    Workers AI gives the newer of its models' answers as OpenAI's `choices`, inside `result`.
    """
    result = document.get("result")
    if not isinstance(result, Mapping):
        return Answer(usage=document.get("usage"))
    if "response" not in result and "choices" in result:
        return openai.find_answer(result)
    answer = Answer(
        response=result.get("response"),
        tool_calls=result.get("tool_calls"),
        usage=result.get("usage"),
        finish_reason=result.get("finish_reason"),
        reasoning=first_text([result.get("reasoning_content"), result.get("reasoning")]),
        refusal=result.get("refusal"),
        model=result.get("model"),
    )
    shown = (answer.tool_calls, answer.reasoning, answer.refusal)
    found = document.get("success") is not False and ("response" in result or any(shown))
    return replace(answer, found=found)
