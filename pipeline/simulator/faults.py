"""All faults that the simulator can cause: one table, each fault with a small function that makes the reply.

docs/simulator.md lists every name; `chance` decides when a fault occurs.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate

from msgspec import Struct
from msgspec.structs import replace

from pipeline.simulator import wire
from pipeline.simulator.answers import Answer
from pipeline.simulator.apis import Api
from pipeline.simulator.chat_request import ChatRequest, JsonObject
from pipeline.simulator.wire import Reply, json_reply, stream_reply

_HTML = {"Content-Type": "text/html; charset=UTF-8"}
_TEXT = {"Content-Type": "text/plain; charset=UTF-8"}
_JSON = {"Content-Type": "application/json"}
_NESTED = b"[" * 1_200 + b"]" * 1_200
_FLAT_CALL: JsonObject = {"name": "add", "arguments": {"a": 2, "b": 2}}
_WRAPPED_CALL: JsonObject = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'},
}
_HOSTILE = '<script>alert(1)</script>\x1b[2J\x1b]0;title\x07\r=HYPERLINK("https://example.invalid")'


class Scene(Struct, frozen=True):
    """What a fault starts from: the request, the answer it would have had, and the marker's options."""

    api: Api
    chat: ChatRequest
    answer: Answer
    options: Mapping[str, str]


class Outcome(Struct, frozen=True):
    """A reply, and the answer as a client can read it from there, None if neither text nor usage can be read."""

    reply: Reply
    shown: Answer | None = None


Make = Callable[[Scene], Outcome]


class Fault(Struct, frozen=True):
    """One row of the table.

    `is_billed` means that the model did its work: the latency passes and the answer is billed, whatever the reply says.
    `weight` is the share among random faults; those of weight 0 occur by marker only.
    """

    name: str
    description: str
    make: Make
    is_billed: bool = False
    weight: int = 0


def good(scene: Scene) -> Outcome:
    """Make the correct reply."""
    if scene.chat.streams:
        return Outcome(stream_reply([*scene.api.stream(scene.chat, scene.answer), "[DONE]"]), scene.answer)
    return Outcome(json_reply(200, scene.api.answer(scene.chat, scene.answer)), scene.answer)


def _half_streamed(*after: object) -> Make:
    """Send half of the events of a stream, then others; a reply that is not a stream ends halfway."""

    def make(scene: Scene) -> Outcome:
        if not scene.chat.streams:
            return Outcome(replace(good(scene).reply, send=wire.truncate, is_complete=False))
        chunks = scene.api.stream(scene.chat, scene.answer)
        return Outcome(stream_reply([*chunks[: len(chunks) // 2], *after]))

    return make


def _beside(response: object, **fields: object) -> Make:
    """Give the answer other fields beside its response."""

    def make(scene: Scene) -> Outcome:
        return good(replace(scene, answer=replace(scene.answer, response=response, fields=fields)))

    return make


def _error(status: int, code: int | None, message: str, retry_after: str | None = None) -> Make:
    def make(scene: Scene) -> Outcome:
        value = scene.options.get("retry_after", retry_after)
        headers = {} if value is None else {"Retry-After": value}
        return Outcome(json_reply(status, scene.api.error(code, message), headers))

    return make


def _too_many(retry_after: str | None = None) -> Make:
    return _error(429, 3021, "Too many requests per minute", retry_after)


def _until_date(scene: Scene) -> Outcome:
    date = formatdate(time.time() + float(scene.options.get("seconds", "2")), usegmt=True)
    return _too_many()(replace(scene, options={"retry_after": date}))


def _fixed(status: int, headers: Mapping[str, str], body: str = "") -> Make:
    return lambda scene: Outcome(Reply(status, headers, body.encode()))


def _page(status: int, title: str, headers: Mapping[str, str] = _HTML) -> Make:
    return _fixed(
        status, headers, f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{title}</body></html>"
    )


def _responding(response: object, tool_calls: list[JsonObject] | None = None) -> Make:
    def make(scene: Scene) -> Outcome:
        return good(replace(scene, answer=replace(scene.answer, response=response, tool_calls=tool_calls)))

    return make


def _counting(usage: JsonObject | None) -> Make:
    return lambda scene: good(replace(scene, answer=replace(scene.answer, usage=usage)))


def _counts(prompt_tokens: object, completion_tokens: object) -> JsonObject:
    return {"completion_tokens": completion_tokens, "prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}


def _unreadable(change: Callable[[bytes], bytes]) -> Make:
    def make(scene: Scene) -> Outcome:
        reply = good(scene).reply
        return Outcome(replace(reply, body=change(reply.body)))

    return make


def _sent(send: wire.Sender, status: int | None = 200) -> Make:
    return lambda scene: Outcome(replace(good(scene).reply, status=status, send=send, is_complete=False))


def _endless(body: bytes, headers: Mapping[str, str]) -> Make:
    return lambda scene: Outcome(Reply(200, headers, body, wire.endless, is_complete=False))


def _success_false_billed(scene: Scene) -> Outcome:
    body = scene.api.unusable(scene.answer, "AiError: 3043: Internal server error")
    return Outcome(json_reply(200, body), replace(scene.answer, response=None))


def _wrong_charset(scene: Scene) -> Outcome:
    outcome = _responding(f"{scene.answer.response} Grüße, 漢字")(scene)
    headers = {"Content-Type": "application/json; charset=iso-8859-1"}
    return replace(outcome, reply=replace(outcome.reply, headers=headers))


def _invalid_utf8(scene: Scene) -> Outcome:
    outcome = _responding(f"{scene.answer.response} ?")(scene)
    body = outcome.reply.body.replace(b' ?"', b' \xe9"', 1)
    shown = replace(scene.answer, response=f"{scene.answer.response} \ufffd")
    return Outcome(replace(outcome.reply, body=body), shown)


def _slow_drip(scene: Scene) -> Outcome:
    outcome = good(scene)
    send = wire.dripping(float(scene.options.get("seconds", "1")))
    return replace(outcome, reply=replace(outcome.reply, send=send))


def _billed(name: str, description: str, make: Make, weight: int = 0) -> Fault:
    return Fault(name, description, make, is_billed=True, weight=weight)


def _gateway(status: int, weight: int = 0, is_billed: bool = False) -> Fault:
    description = f"{status} with an HTML page" + (", after the answer was made" if is_billed else "")
    return Fault(str(status), description, _page(status, f"Error {status}"), is_billed, weight)


_BAD_GATEWAY = _page(502, "502 Bad Gateway")
_CHALLENGE = _page(403, "Just a moment...", {**_HTML, "cf-mitigated": "challenge"})
_REDIRECT = _fixed(302, {"Location": "https://example.invalid/elsewhere"})
_BOMB = gzip.compress(b" " * 262_144)

_ROWS = (
    Fault("429", "429, 3021; Retry-After only with `retry_after=TEXT`", _too_many(), weight=4),
    Fault("429_seconds", "429, 3021; Retry-After: 1", _too_many("1"), weight=4),
    Fault("429_date", "429, 3021; Retry-After is an HTTP-date 2 s ahead, or `seconds=N` ahead", _until_date),
    Fault("429_huge", "429, 3021; Retry-After: 1000000000", _too_many("1000000000")),
    Fault("429_negative", "429, 3021; Retry-After: -5", _too_many("-5")),
    Fault("429_nan", "429, 3021; Retry-After: nan", _too_many("nan")),
    Fault("429_garbage", "429, 3021; Retry-After: soon", _too_many("soon")),
    Fault("out_of_capacity", "429, 3040", _error(429, 3040, "Capacity temporarily exceeded"), weight=2),
    Fault("daily_quota", "429, 4006", _error(429, 4006, "You have used up your daily free allocation")),
    Fault("400", "400, 5006", _error(400, 5006, "Bad input")),
    Fault("401", "401, 10000", _error(401, 10000, "Authentication error")),
    Fault("402", "402 with an envelope and no code", _error(402, None, "Payment required")),
    Fault("403", "403, 3023", _error(403, 3023, "Account is blocked")),
    Fault("model_not_found", "404, 5007", _error(404, 5007, "No such model")),
    Fault("too_large", "413, 3006", _error(413, 3006, "Request is too large")),
    Fault("schema_not_supported", "400, 5025", _error(400, 5025, "This model doesn't support JSON Schema")),
    Fault("redirect", "302 to another host", _REDIRECT),
    _billed("408", "408, 3007, after the answer was made", _error(408, 3007, "Request timeout"), weight=2),
    Fault("500", "500, 3043", _error(500, 3043, "Internal server error"), weight=4),
    Fault("500_code_in_text", "500, the code only in the text", _error(500, None, "AiError: 3043: Internal error")),
    Fault("html_502", "502 with an HTML page", _BAD_GATEWAY, weight=4),
    _gateway(503, weight=4),
    _gateway(504, weight=2, is_billed=True),
    *map(_gateway, range(520, 524)),
    _gateway(524, weight=2, is_billed=True),
    *map(_gateway, range(525, 528)),
    _gateway(530),
    Fault("text_530", "530 with 16 bytes of plain text", _fixed(530, _TEXT, "error code: 1033")),
    Fault("challenge_403", "403 with a challenge page in HTML", _CHALLENGE),
    Fault("success_false", "200, success false, 3043", _error(200, 3043, "Internal server error"), weight=2),
    _billed("success_false_billed", "200, success false, with the usage", _success_false_billed, weight=1),
    Fault("json_mode_not_met", "200, success false, no code", _error(200, None, "JSON Mode couldn't be met")),
    _billed("bad_json", "200, the first half of the JSON", _unreadable(lambda body: body[: len(body) // 2]), weight=2),
    _billed("empty_body", "200, no body", _unreadable(lambda body: b""), weight=2),
    Fault("result_null", "200, no result", lambda scene: Outcome(json_reply(200, scene.api.nothing)), weight=2),
    _billed("deep_json", "200, 1,200 levels of lists", _unreadable(lambda body: _NESTED)),
    _billed("empty_response", "200, the response is empty text", _responding("")),
    _billed("null_response", "200, the response is null", _responding(None)),
    _billed("object_response", "200, the response is an object", _responding({"answer": 4, "unit": "é"})),
    _billed("list_response", "200, the response is a list", _responding([1, "two", None])),
    _billed("number_response", "200, the response is a number", _responding(42)),
    _billed("hostile_response", "200, the response has markup, terminal escapes, a formula", _responding(_HOSTILE)),
    _billed("tool_calls_flat", "200, response null beside a flat call", _responding(None, [_FLAT_CALL])),
    _billed("tool_calls_wrapped", "200, response null beside a wrapped call", _responding(None, [_WRAPPED_CALL])),
    _billed("refusal", "200, the response is null beside a refusal", _beside(None, refusal="I cannot help with that.")),
    _billed("reasoning", "200, a reasoning beside the response", _beside("4", reasoning_content="2 + 2 is 4.")),
    _billed("stream_cut", "a stream that ends in the middle", _half_streamed()),
    _billed("stream_error", "a stream that ends in an error", _half_streamed({"error": {"message": "out of memory"}})),
    _billed("wrong_charset", "200, UTF-8 under a header that says iso-8859-1", _wrong_charset),
    _billed("invalid_utf8", "200, the response ends in a byte that is not UTF-8", _invalid_utf8),
    _billed("usage_missing", "200, no usage", _counting(None), weight=2),
    _billed("usage_zero", "200, every count 0", _counting(_counts(0, 0))),
    _billed("usage_negative", "200, negative counts", _counting(_counts(-30, -759))),
    _billed("usage_fractional", "200, fractional counts", _counting(_counts(30.5, 759.25))),
    _billed("usage_text", "200, counts as text", _counting(_counts("30", "759"))),
    _billed("usage_absurd", "200, counts beyond int64", _counting(_counts(2**63, 10**30))),
    _billed("reset_before", "reset before the first byte of the reply", _sent(wire.reset_before, None), weight=2),
    _billed("reset_amid", "reset after half of the body", _sent(wire.reset_amid), weight=1),
    _billed("truncated", "closed after half of the body", _sent(wire.truncate), weight=2),
    _billed("truncated_chunked", "closed in the middle of a chunk", _sent(wire.truncate_chunk), weight=2),
    _billed("slow_drip", "one byte of the body per second, or one per `seconds=N`", _slow_drip),
    Fault("endless", "200, a body without end", _endless(b" " * 65_536, _JSON)),
    Fault("gzip_bomb", "200, a compressed body without end", _endless(_BOMB, {**_JSON, "Content-Encoding": "gzip"})),
    Fault("hang", "nothing is ever sent", lambda scene: Outcome(Reply(None, send=wire.hang, is_complete=False))),
)

TABLE = {fault.name: fault for fault in _ROWS}
FAULTS = {fault.name: fault.description for fault in _ROWS}
