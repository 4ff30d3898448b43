"""The frozen values that travel through the pipeline, and the identity of a request.

Those that are made for every reply are tuples, which take a third of the time of a dataclass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from msgspec import Struct, field

from pipeline.errors import ErrorKind
from pipeline.images import Image

MAX_INT64 = 2**63 - 1
REQUEST_HASH_VERSION = 1

_MAX_TOKENS_NAMES = ("max_tokens", "max_completion_tokens")

ResponseType = Literal["text", "json", "refusal", "empty"]

JsonObject = Mapping[str, Any]
"""A JSON object as it comes in or goes out; nothing is known of its values before they are looked at."""

Row = Mapping[str, Any]
"""A row of the input, from the name of a column to its value in Python's own types."""

ParameterValue = int | float | str | list[str]
"""A generation parameter as it is sent."""


class Message(TypedDict):
    """One chat message; `content` is text, or a list of parts if the endpoint accepts them. It may be missing beside
    `tool_calls`, which have OpenAI's form.
    """

    role: str
    content: NotRequired[str | list[JsonObject]]
    name: NotRequired[str]
    tool_calls: NotRequired[list[JsonObject]]
    tool_call_id: NotRequired[str]


class Request(Struct, frozen=True):
    """What is asked, without the endpoint: each provider gives it its own wire form.

    `extra_body` holds further keys of the body, which are sent unchanged.
    """

    model: str
    messages: tuple[Message, ...]
    parameters: Mapping[str, ParameterValue]
    extra_body: JsonObject = field(default_factory=dict)

    @property
    def image_bytes(self) -> int:
        """The bytes of all images in the messages."""
        held = 0
        for message in self.messages:
            content = message.get("content") or ""
            for part in () if isinstance(content, str) else content:
                image = part.get("image_url", {}).get("url")
                held += len(image.data) if isinstance(image, Image) else 0
        return held

    @property
    def max_tokens(self) -> int | None:
        """The maximum number of tokens of the answer, also where a key of the body sets it; None if nothing does. Some
        servers accept -1 for that.
        """
        values = [self.parameters.get("max_tokens")]
        if self.extra_body:
            values += [self.extra_body.get(name) for name in _MAX_TOKENS_NAMES]
        return max((int(one) for one in values if isinstance(one, int | float) and one >= 1), default=None)


class Usage(NamedTuple):
    """Token counts as the endpoint gave them; None if a count is not valid. `raw` is its JSON text.

    `cached_tokens` are part of the prompt's. `reasoning_tokens` are part of the completion's, or come on top of them.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    raw: str | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def beside_completion(self) -> int:
        """The tokens that only the total counts: xAI and Gemini bill reasoning so, at the completion's price."""
        return (self.output_tokens or 0) - (self.completion_tokens or 0)

    @property
    def output_tokens(self) -> int | None:
        """All tokens that were generated and billed as output; None if the completion's count is not valid."""
        prompt, completion, total = self.prompt_tokens, self.completion_tokens, self.total_tokens
        if completion is None or prompt is None or total is None or total - prompt < completion:
            return completion
        return total - prompt

    @property
    def billed_tokens(self) -> int | None:
        """Prompt and output together; None if one of them is not valid."""
        output = self.output_tokens
        return None if self.prompt_tokens is None or output is None else self.prompt_tokens + output

    @property
    def is_priceable(self) -> bool:
        """Whether the usage can be priced: the counts of the prompt and of the completion are both known."""
        return self.prompt_tokens is not None and self.completion_tokens is not None


NO_USAGE = Usage()


class Reply(NamedTuple):
    """A usable answer.

    `response` is text, or JSON text if `response_type` is `json`; None if it was null. `finish_reason` and `reasoning`
    are as the endpoint gave them, `served_model` is the model that the reply names. `retry_after` is as in a Failure.
    """

    response: str | None
    response_type: ResponseType
    tool_calls: str | None
    usage: Usage
    finish_reason: str | None = None
    reasoning: str | None = None
    served_model: str | None = None
    http_status: int = 200
    retry_after: float | None = None


class Failure(NamedTuple):
    """An attempt, or a row, without a usable answer.

    `sent` is False only if the endpoint certainly never received the request. `usage` is set if an unusable reply was
    billed all the same. `retry_after` is in seconds from when the reply's headers arrived. `counts_as` is set for an
    error within a 200, which names another status than `http_status`. `code` is the endpoint's own.
    """

    kind: ErrorKind
    message: str
    http_status: int | None = None
    sent: bool = True
    usage: Usage | None = None
    retry_after: float | None = None
    possibly_billed: bool = False
    counts_as: int | None = None
    code: str = ""

    @property
    def status(self) -> int | None:
        """The HTTP status that counts; None if there was no reply."""
        return self.http_status if self.counts_as is None else self.counts_as


def valid_count(value: object) -> int | None:
    """Return a token count as an int, or None if it is not an integer from 0 to the largest int64.

    Some servers write integers as `10.0`. True is not a count.
    """
    if type(value) is not int:
        if not isinstance(value, float) or not value.is_integer():
            return None
        value = int(value)
    return value if 0 <= value <= MAX_INT64 else None


def as_written(value: object) -> str:
    """Return an image as a data: URL, for JSON that is sent or shown. Raises TypeError for anything else."""
    if isinstance(value, Image):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _as_identity(value: object) -> str:
    if isinstance(value, Image):
        return f"sha256:{value.digest}"
    raise TypeError(f"{type(value).__name__} is no JSON value")


# Made once, because json.dumps makes a new one for each call with options.
_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=as_written)
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_as_identity
)


class PrintedList(list[object]):
    """A JSON array of the input; a prompt prints it as compact JSON."""

    def __str__(self) -> str:
        return json_text(self)


class PrintedObject(dict[str, object]):
    """A JSON object of the input; a prompt prints it as compact JSON."""

    def __str__(self) -> str:
        return json_text(self)


def json_text(value: object) -> str:
    """Return the value as compact JSON text, keys in their order, images as data: URLs. Raises ValueError at NaN and
    infinity.
    """
    return _COMPACT.encode(value)


def canonical_json(value: object) -> str:
    """Return JSON text that is the same for equal values: sorted keys, no whitespace, no NaN, images by digest."""
    return _CANONICAL.encode(value)


def digest(value: object) -> str:
    """Return the 128-bit BLAKE2b of a value's canonical JSON, as 32 hexadecimal digits."""
    return _blake2b(canonical_json(value))


def _blake2b(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def digest_of_texts(*texts: str) -> str:
    """Return the `digest` of a list of texts, in less time."""
    canonical = f"[{','.join(map(encode_basestring, texts))}]"
    return _blake2b(canonical)


def request_hash(endpoint_kind: str, request: Request) -> str:
    """Return the identity of a request: what would make the endpoint answer differently, and nothing else."""
    asked = [REQUEST_HASH_VERSION, endpoint_kind, request.model, request.messages, dict(request.parameters)]
    return digest([*asked, request.extra_body] if request.extra_body else asked)


_FURTHER_TEXTS: tuple[Literal["name", "tool_call_id"], ...] = ("name", "tool_call_id")


def message_texts(messages: Sequence[Message]) -> list[str]:
    """Return every piece of text in the messages, for bounds on size; tool calls as JSON text."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, str):
            texts.append(content)
        else:
            texts.extend(part["text"] for part in content if isinstance(part.get("text"), str))
        if len(message) > 2 or "content" not in message:  # more than role and content
            texts += [text for name in _FURTHER_TEXTS if isinstance(text := message.get(name), str)]
            if "tool_calls" in message:
                texts.append(json_text(message["tool_calls"]))
    return texts
