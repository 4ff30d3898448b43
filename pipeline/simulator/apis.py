"""The two wire forms the simulator speaks: Dataoorts' envelope, and OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.simulator.answers import Answer
from pipeline.simulator.asking import Asking, Refusal, read_asking

_CREATED = 1749600000  # a fixed moment: the same request must get the same bytes


@dataclass(frozen=True, slots=True)
class Api:
    """How one path reads a request and shapes what it sends back; every shape is a JSON object.

    `nothing` is a success without a result, `unusable` a failure that tells the usage of the answer all the same.
    """

    path: str
    read: Callable[[dict[str, Any]], Asking]
    answer: Callable[[Asking, Answer], dict[str, Any]]
    error: Callable[[int | None, str], dict[str, Any]]
    unusable: Callable[[Answer, str], dict[str, Any]]
    nothing: dict[str, Any]


def _read_dataoorts(body: dict[str, Any]) -> Asking:
    data = body.get("data")
    if not isinstance(data, dict):
        raise Refusal(400, 5006, "must have required property 'data', an object")
    if unknown := set(body) - {"model", "data"}:
        raise Refusal(400, 5006, f"unknown property {min(unknown)[:100]!r} beside 'model' and 'data'")
    return _read(body.get("model"), data)


def _dataoorts_answer(asking: Asking, answer: Answer) -> dict[str, Any]:
    result: dict[str, Any] = {"response": answer.response}
    if answer.tool_calls is not None:
        result["tool_calls"] = answer.tool_calls
    if answer.usage is not None:
        result["usage"] = answer.usage
    return {"errors": [], "messages": [], "result": result, "success": True}


def _dataoorts_error(code: int | None, message: str) -> dict[str, Any]:
    error = {"message": message} if code is None else {"code": code, "message": message}
    return {"result": None, "success": False, "errors": [error], "messages": []}


def _dataoorts_unusable(answer: Answer, message: str) -> dict[str, Any]:
    return {**_dataoorts_error(None, message), "result": {"usage": answer.usage}}


def _read_openai(body: dict[str, Any]) -> Asking:
    if "max_completion_tokens" in body and "max_tokens" not in body:
        body = {**body, "max_tokens": body["max_completion_tokens"]}
        del body["max_completion_tokens"]
    if body.get("stream") is False:  # what it does anyway
        body = {name: value for name, value in body.items() if name != "stream"}
    return _read(body.get("model"), {name: value for name, value in body.items() if name != "model"})


def _openai_answer(asking: Asking, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.response}
    if answer.tool_calls:
        message["tool_calls"] = answer.tool_calls
    finish = "length" if answer.is_cut else "stop"
    body: dict[str, Any] = {
        "id": f"chatcmpl-{asking.request}",
        "object": "chat.completion",
        "created": _CREATED,
        "model": asking.model.name,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if answer.usage is not None:
        body["usage"] = answer.usage
    return body


def _openai_error(code: int | None, message: str) -> dict[str, Any]:
    word = None if code is None else str(code)
    return {"error": {"message": message, "type": "simulated_error", "param": None, "code": word}}


def _openai_unusable(answer: Answer, message: str) -> dict[str, Any]:
    return {**_openai_error(None, message), "usage": answer.usage}


def _read(model: object, fields: dict[str, Any]) -> Asking:
    parameters = {name: value for name, value in fields.items() if name != "messages"}
    return read_asking(model, fields.get("messages"), parameters)


DATAOORTS = Api(
    path="/api/v1",
    read=_read_dataoorts,
    answer=_dataoorts_answer,
    error=_dataoorts_error,
    unusable=_dataoorts_unusable,
    nothing={"errors": [], "messages": [], "result": None, "success": True},
)
OPENAI = Api(
    path="/v1/chat/completions",
    read=_read_openai,
    answer=_openai_answer,
    error=_openai_error,
    unusable=_openai_unusable,
    nothing={"object": "chat.completion", "choices": []},
)
APIS = {api.path: api for api in (DATAOORTS, OPENAI)}
