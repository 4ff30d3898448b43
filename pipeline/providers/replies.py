"""From the bytes of a response to one typed value, for every kind of endpoint.

Nothing is assumed of any type: what a field may hold is decided by looking at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.errors import ErrorKind
from pipeline.providers.documents import DocumentTooLarge, decode, json_text, read_document
from pipeline.providers.errors import classify, counted_status, error_code, is_possibly_billed
from pipeline.providers.finish import broke_off
from pipeline.providers.messages import describe, errors_of, printable
from pipeline.providers.reasoning import split_reasoning
from pipeline.providers.usage import read_usage
from pipeline.records import Failure, JsonObject, Reply, ResponseType
from pipeline.surrogates import well_formed


class Answer(NamedTuple):
    """Where an endpoint's envelope holds what.

    `found` tells whether there is an answer in it, which may be empty; `error` is one inside the answer.
    """

    found: bool = False
    response: Any = None
    tool_calls: Any = None
    usage: Any = None
    finish_reason: str | None = None
    reasoning: Any = None
    refusal: Any = None
    model: Any = None
    error: Any = None

    @property
    def is_whole(self) -> bool:
        """Whether there is an answer, and the server did not give up in the middle of it."""
        return self.found and not (self.error and is_error(self.error)) and not broke_off(self.finish_reason)


_NO_ANSWER = Answer()


def parse_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    find_answer: Callable[[JsonObject], Answer],
    *,
    splits_reasoning: bool = False,
) -> Reply | Failure:
    """Return the typed result of a whole response; `find_answer` knows the envelope. With `splits_reasoning` the text
    up to `</think>` is reasoning, and no part of the response.
    """
    text = decode(headers, body)
    try:
        document = read_document(text)
    except DocumentTooLarge as error:
        return too_large(status, headers, str(error))
    return read_response(status, headers, document, find_answer, text=text, splits_reasoning=splits_reasoning)


def read_response(
    status: int,
    headers: Mapping[str, str],
    document: Any,
    find_answer: Callable[[JsonObject], Answer],
    *,
    text: str | None = None,
    splits_reasoning: bool = False,
) -> Reply | Failure:
    """Return the typed result of a whole response whose body is read already, where it is known with its `text`."""
    answer = find_answer(document) if 200 <= status < 300 and isinstance(document, dict) else _NO_ANSWER
    if answer.is_whole:
        return _reply(status, _split(answer) if splits_reasoning else answer)
    if text is None:
        text = json_text(document)
    if not 200 <= status < 300:
        return Failure(
            classify(status, headers, text, document),
            describe(status, headers, text, document),
            http_status=status,
            possibly_billed=is_possibly_billed(status),
            code=error_code(document),
        )
    usage = read_usage(answer.usage, answered=False)
    if is_error(answer.error):
        document = {"error": answer.error}
    message = describe(status, headers, text, document)
    if answer.found and not errors_of(document):
        message = printable(f"HTTP {status}: the answer broke off: finish_reason {answer.finish_reason}")
    return Failure(
        classify(status, headers, text, document),
        message,
        http_status=status,
        usage=usage if usage.is_priceable else None,
        possibly_billed=not usage.is_priceable,
        counts_as=counted_status(status, document),
        code=error_code(document),
    )


def is_error(value: Any) -> bool:
    """Return whether an `error` says anything; some servers send an empty one along with every answer."""
    return any(value.values()) if isinstance(value, dict) else bool(value)


def first_text(values: Iterable[Any]) -> str | None:
    """Return the first of the values that says something, as text."""
    for value in values:
        if value is not None and value not in ("", [], {}):
            return value if isinstance(value, str) else json_text(value)
    return None


def _split(answer: Answer) -> Answer:
    parts = split_reasoning(answer.response) if isinstance(answer.response, str) else None
    if parts is None:
        return answer
    found, response = parts
    # A server that also sends reasoning beside the text was paid for both.
    reasoning = "\n\n".join(filter(None, [answer.reasoning, found]))
    return answer._replace(response=response, reasoning=reasoning or None)


def too_large(status: int, headers: Mapping[str, str], message: str) -> Failure:
    """Return the failure for a body that is not read; a refusal or redirect says what it means by its status."""
    is_refusal = 300 <= status < 500
    return Failure(
        classify(status, headers, "", None) if is_refusal else ErrorKind.REPLY_TOO_LARGE,
        f"HTTP {status}: {message}",
        http_status=status,
        possibly_billed=is_possibly_billed(status),
    )


def _reply(status: int, answer: Answer) -> Reply:
    response, response_type = _typed(answer)
    tool_calls = None if answer.tool_calls in (None, [], "") else json_text(answer.tool_calls)
    answered = response_type != "empty" or tool_calls is not None
    usage = read_usage(answer.usage, answered=answered, reasoned=bool(answer.reasoning))
    return Reply(
        response,
        response_type,
        tool_calls,
        usage,
        None if answer.finish_reason is None else well_formed(answer.finish_reason),
        well_formed(answer.reasoning) if answer.reasoning else None,
        well_formed(answer.model) if isinstance(answer.model, str) and answer.model else None,
        status,
    )


def _typed(answer: Answer) -> tuple[str | None, ResponseType]:
    response = answer.response
    if isinstance(response, str) and response:
        return well_formed(response), "text"
    if response in (None, "") and isinstance(answer.refusal, str) and answer.refusal:
        return well_formed(answer.refusal), "refusal"
    return (response, "empty") if response in (None, "") else (json_text(response), "json")
