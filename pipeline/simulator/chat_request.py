"""A chat request as the simulated endpoint parses it, with every reason to refuse it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

from pipeline.simulator.models import GUARD_PARAMETERS, MODELS, PARAMETERS, UNDOCUMENTED, Model

JsonObject = dict[str, object]
"""A JSON object of a request or a reply."""

ROLES = ("system", "developer", "user", "assistant", "tool")
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 1_000
BYTES_PER_TOKEN = 4

_BEARER = re.compile(r"Bearer +[!-~]+\Z", re.IGNORECASE)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Refusal(Exception):
    """The request is answered with an error: an HTTP status, one of the endpoint's codes and a message."""

    def __init__(self, status: int, code: int | None, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class ChatRequest(Struct, frozen=True):
    """A valid request. `prompt` is the digest of its messages, `request` that of model, messages and parameters."""

    model: Model
    texts: tuple[str, ...]
    """The text of its messages, part by part."""
    parameters: Mapping[str, object]
    prompt: str
    request: str
    prompt_tokens: int
    streams: bool = False
    tells_usage: bool = True
    """Whether a stream ends with the usage."""

    @property
    def max_tokens(self) -> int | None:
        """The most tokens that the answer may have, None if the request does not say."""
        value = self.parameters.get("max_tokens")
        return int(value) if isinstance(value, int | float) else None


def digest(value: object, size: int = 8) -> str:
    """Return the BLAKE2b of a value's JSON with sorted keys and no spaces, as `2 * size` hexadecimal digits."""
    return hashlib.blake2b(_canonical(value).encode("ascii"), digest_size=size).hexdigest()


def prompt_digest(messages: object) -> str:
    """Return the 16 hexadecimal digits that identify these messages in every answer, and in the ledger as `prompt`."""
    return digest(messages)


def count_tokens(text: str) -> int:
    """Count tokens the simulator's way: one for every four bytes of UTF-8, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def check_key(authorization: str | None) -> None:
    """Raise Refusal (401, 10000) unless the header has the form `Bearer KEY`. Any key is accepted."""
    if authorization is None or not _BEARER.match(authorization):
        raise Refusal(401, 10000, "Authentication error: send the header 'Authorization: Bearer KEY'")


def read_json(content_type: str | None, body: bytes) -> JsonObject:
    """Return the body as a JSON object. Raises Refusal (400, 8001) for anything else."""
    if (content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(400, 8001, "Invalid input: send the header 'Content-Type: application/json'")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, 8001, "Invalid input: the body is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise Refusal(400, 8001, "Invalid input: the body is not a JSON object")
    return value


def parse_chat_request(
    model: object, messages: object, parameters: JsonObject, *, strictly: bool = True
) -> ChatRequest:
    """Make a request from these three. Raises Refusal if one of them is not as documented.

    Unless `strictly`, parameters that have no meaning here may be anything.
    """
    if not isinstance(model, str):
        raise Refusal(400, 7003, "Could not route: 'model' is missing or is no text")
    if model not in MODELS:
        raise Refusal(400, 5007, f"No such model {model[:100]!r}")
    served = MODELS[model]
    if strictly:
        _check_parameters(served, parameters)
    elif not PARAMETERS["max_tokens"].holds(parameters.get("max_tokens", 1)):
        raise Refusal(400, 5006, f"'max_tokens' must be {PARAMETERS['max_tokens']}")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, 5006, "must have required property 'messages', a list of at least one message")
    parts = [list(_parts(index, message)) for index, message in enumerate(messages)]
    tokens = sum(TOKENS_PER_MESSAGE + sum(part.tokens for part in message) for message in parts)
    if tokens > served.window:
        raise Refusal(413, 5021, f"The estimated {tokens} input tokens exceed the context window of {served.window}")
    return ChatRequest(
        model=served,
        texts=tuple(part.content for message in parts for part in message if part.is_text),
        parameters=parameters,
        prompt=prompt_digest(messages),
        request=digest([model, messages, parameters], size=16),
        prompt_tokens=tokens,
    )


def _check_parameters(model: Model, parameters: JsonObject) -> None:
    documented = GUARD_PARAMETERS if model.is_guard else PARAMETERS
    for name, value in parameters.items():
        if name in UNDOCUMENTED:
            continue
        if name not in documented:
            raise Refusal(400, 5006, f"unknown parameter {name[:100]!r} for {model.name}")
        if not documented[name].holds(value):
            raise Refusal(400, 5006, f"{name!r} must be {documented[name]}")


class _Part(Struct, frozen=True):
    """A part of a message: its text, or the data: URL of its image."""

    content: str
    is_text: bool = True

    @property
    def tokens(self) -> int:
        """What the part counts; an image follows its pixels, and not its bytes."""
        return count_tokens(self.content) if self.is_text else TOKENS_PER_IMAGE


def _parts(index: int, message: object) -> Iterator[_Part]:
    if not isinstance(message, dict):
        raise Refusal(400, 5006, f"messages[{index}] must be an object")
    if message.get("role") not in ROLES:
        raise Refusal(400, 5006, f"messages[{index}].role must be one of {', '.join(ROLES)}")
    content = message.get("content")
    if calls := message.get("tool_calls"):
        yield _Part(json.dumps(calls))
        if content is None:
            return
    if isinstance(content, str):
        yield _Part(content)
        return
    if not isinstance(content, list) or not content:
        raise Refusal(400, 5006, f"messages[{index}].content must be text or a list of parts")
    for part in content:
        yield _part(index, part)


def _part(index: int, part: object) -> _Part:
    match part:
        case {"type": "text", "text": str(text)}:
            return _Part(text)
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            if not url.startswith("data:"):
                raise Refusal(400, 5006, f"messages[{index}]: an image must be a data: URL")
            return _Part(url, is_text=False)
    raise Refusal(400, 5006, f"messages[{index}].content has a part that is neither text nor image_url")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
