"""The two wire forms the simulator speaks: Dataoorts' envelope, and OpenAI's chat completions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    stream: Callable[[Asking, Answer], list[dict[str, Any]]]
    nothing: dict[str, Any]


def _read_dataoorts(body: dict[str, Any]) -> Asking:
    data = body.get("data")
    if not isinstance(data, dict):
        raise Refusal(400, 5006, "must have required property 'data', an object")
    if unknown := set(body) - {"model", "data"}:
        raise Refusal(400, 5006, f"unknown property {min(unknown)[:100]!r} beside 'model' and 'data'")
    return _read(body.get("model"), data)


def _dataoorts_answer(asking: Asking, answer: Answer) -> dict[str, Any]:
    result: dict[str, Any] = {"response": _json_mode(asking, answer.response), **answer.fields}
    if answer.tool_calls is not None:
        result["tool_calls"] = answer.tool_calls
    if answer.usage is not None:
        result["usage"] = answer.usage
    return {"errors": [], "messages": [], "result": result, "success": True}


def _json_mode(asking: Asking, response: object) -> object:
    """Return the response as JSON mode gives it: as a JSON value, where it is one."""
    if "response_format" not in asking.parameters or not isinstance(response, str):
        return response
    try:
        return json.loads(response)
    except ValueError:
        return response


def _dataoorts_error(code: int | None, message: str) -> dict[str, Any]:
    error = {"message": message} if code is None else {"code": code, "message": message}
    return {"result": None, "success": False, "errors": [error], "messages": []}


def _dataoorts_unusable(answer: Answer, message: str) -> dict[str, Any]:
    return {**_dataoorts_error(None, message), "result": {"usage": answer.usage}}


def _read_openai(body: dict[str, Any]) -> Asking:
    if "max_completion_tokens" in body and "max_tokens" not in body:
        body = {**body, "max_tokens": body["max_completion_tokens"]}
        del body["max_completion_tokens"]
    options = body.get("stream_options")
    tells_usage = isinstance(options, dict) and options.get("include_usage") is True
    fields = {name: value for name, value in body.items() if name not in ("model", "stream", "stream_options")}
    # Servers of this kind take what they do not know, and have ranges of their own.
    asking = _read(body.get("model"), fields, strictly=False)
    return replace(asking, streams=body.get("stream") is True, tells_usage=tells_usage)


def _openai_answer(asking: Asking, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.response, **answer.fields}
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


def _openai_stream(asking: Asking, answer: Answer) -> list[dict[str, Any]]:
    """The chunks of a streamed answer: a delta for every few characters, the end, the usage where it was asked for."""
    whole = _openai_answer(asking, answer)
    message = whole["choices"][0]["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning_content", "refusal", "content"):
        text = message.get(name)
        pieces = re.findall(r"(?s).{1,12}", text) if isinstance(text, str) else []
        deltas += [{name: piece} for piece in pieces]
        if isinstance(text, list):
            deltas.append({name: text})
    calls = [{"index": index, **call} for index, call in enumerate(message.get("tool_calls", []))]
    deltas += [{"tool_calls": [call]} for call in calls]
    head = {**{name: whole[name] for name in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    finish = whole["choices"][0]["finish_reason"]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if asking.tells_usage and "usage" in whole:
        chunks.append({**head, "choices": [], "usage": whole["usage"]})
    return chunks


def _openai_error(code: int | None, message: str) -> dict[str, Any]:
    word = None if code is None else str(code)
    return {"error": {"message": message, "type": "simulated_error", "param": None, "code": word}}


def _openai_unusable(answer: Answer, message: str) -> dict[str, Any]:
    return {**_openai_error(None, message), "usage": answer.usage}


def _read(model: object, fields: dict[str, Any], *, strictly: bool = True) -> Asking:
    parameters = {name: value for name, value in fields.items() if name != "messages"}
    return read_asking(model, fields.get("messages"), parameters, strictly=strictly)


DATAOORTS = Api(
    path="/api/v1",
    read=_read_dataoorts,
    answer=_dataoorts_answer,
    error=_dataoorts_error,
    unusable=_dataoorts_unusable,
    stream=lambda asking, answer: [],
    nothing={"errors": [], "messages": [], "result": None, "success": True},
)
OPENAI = Api(
    path="/v1/chat/completions",
    read=_read_openai,
    answer=_openai_answer,
    error=_openai_error,
    unusable=_openai_unusable,
    stream=_openai_stream,
    nothing={"object": "chat.completion", "choices": []},
)
APIS = {api.path: api for api in (DATAOORTS, OPENAI)}
