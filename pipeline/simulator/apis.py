"""The two API formats of the simulator: Dataoorts' envelope, and OpenAI's chat completions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from pipeline.simulator.answers import Answer
from pipeline.simulator.chat_request import ChatRequest, JsonObject, Refusal, parse_chat_request

_CREATED = 1749600000  # constant: the same request must get the same bytes


class Api(Struct, frozen=True):
    """How one path reads requests and formats replies, all of them JSON objects.

    `nothing` is a success without a result, `unusable` a failure that still contains the usage of the answer.
    """

    path: str
    read: Callable[[JsonObject], ChatRequest]
    answer: Callable[[ChatRequest, Answer], JsonObject]
    error: Callable[[int | None, str], JsonObject]
    unusable: Callable[[Answer, str], JsonObject]
    stream: Callable[[ChatRequest, Answer], list[JsonObject]]
    nothing: JsonObject


def _read_dataoorts(body: JsonObject) -> ChatRequest:
    data = body.get("data")
    if not isinstance(data, dict):
        raise Refusal(400, 5006, "must have required property 'data', an object")
    if unknown := set(body) - {"model", "data"}:
        raise Refusal(400, 5006, f"unknown property {min(unknown)[:100]!r} beside 'model' and 'data'")
    return _read(body.get("model"), data)


def _dataoorts_answer(chat: ChatRequest, answer: Answer) -> JsonObject:
    result: JsonObject = {"response": _json_mode(chat, answer.response), **answer.fields}
    if answer.tool_calls is not None:
        result["tool_calls"] = answer.tool_calls
    if answer.usage is not None:
        result["usage"] = answer.usage
    return {"errors": [], "messages": [], "result": result, "success": True}


def _json_mode(chat: ChatRequest, response: object) -> object:
    """Return the response as in JSON mode: as a JSON value, if it is one."""
    if "response_format" not in chat.parameters or not isinstance(response, str):
        return response
    try:
        value: object = json.loads(response)
    except ValueError:
        return response
    return value


def _dataoorts_error(code: int | None, message: str) -> JsonObject:
    error: JsonObject = {"message": message} if code is None else {"code": code, "message": message}
    return {"result": None, "success": False, "errors": [error], "messages": []}


def _dataoorts_unusable(answer: Answer, message: str) -> JsonObject:
    return {**_dataoorts_error(None, message), "result": {"usage": answer.usage}}


def _read_openai(body: JsonObject) -> ChatRequest:
    if "max_completion_tokens" in body and "max_tokens" not in body:
        body = {**body, "max_tokens": body["max_completion_tokens"]}
        del body["max_completion_tokens"]
    options = body.get("stream_options")
    tells_usage = isinstance(options, dict) and options.get("include_usage") is True
    fields = {name: value for name, value in body.items() if name not in ("model", "stream", "stream_options")}
    # Servers of this kind accept unknown parameters, and have their own ranges.
    chat = _read(body.get("model"), fields, strictly=False)
    return replace(chat, streams=body.get("stream") is True, tells_usage=tells_usage)


def _openai_answer(chat: ChatRequest, answer: Answer) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": answer.response, **answer.fields}
    if answer.tool_calls:
        message["tool_calls"] = answer.tool_calls
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
    body = {**_openai_head(chat, "chat.completion"), "choices": [choice]}
    if answer.usage is not None:
        body["usage"] = answer.usage
    return body


def _openai_stream(chat: ChatRequest, answer: Answer) -> list[JsonObject]:
    """Split an answer into chunks: a delta for every few characters, the end, the usage where it was asked for."""
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning_content", "refusal", "content"):
        value = answer.response if name == "content" else answer.fields.get(name)
        if isinstance(value, list):
            deltas.append({name: value})
        elif isinstance(value, str):
            deltas += [{name: piece} for piece in re.findall(r"(?s).{1,12}", value)]
    deltas += [{"tool_calls": [{"index": index, **call}]} for index, call in enumerate(answer.tool_calls or [])]
    head = _openai_head(chat, "chat.completion.chunk")
    chunks: list[JsonObject] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish_reason(answer)}]})
    if chat.tells_usage and answer.usage is not None:
        chunks.append({**head, "choices": [], "usage": answer.usage})
    return chunks


def _openai_head(chat: ChatRequest, kind: str) -> JsonObject:
    return {"id": f"chatcmpl-{chat.request}", "object": kind, "created": _CREATED, "model": chat.model.name}


def _finish_reason(answer: Answer) -> str:
    return "length" if answer.is_truncated else "stop"


def _openai_error(code: int | None, message: str) -> JsonObject:
    word = None if code is None else str(code)
    return {"error": {"message": message, "type": "simulated_error", "param": None, "code": word}}


def _openai_unusable(answer: Answer, message: str) -> JsonObject:
    return {**_openai_error(None, message), "usage": answer.usage}


def _read(model: object, fields: JsonObject, *, strictly: bool = True) -> ChatRequest:
    parameters = {name: value for name, value in fields.items() if name != "messages"}
    return parse_chat_request(model, fields.get("messages"), parameters, strictly=strictly)


DATAOORTS = Api(
    path="/api/v1",
    read=_read_dataoorts,
    answer=_dataoorts_answer,
    error=_dataoorts_error,
    unusable=_dataoorts_unusable,
    stream=lambda chat, answer: [],
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
