"""What a refusal means: the table of statuses, and the words and codes that go before it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.config.models import EndpointConfig
from pipeline.config.wire import make_endpoint
from pipeline.errors import ErrorKind
from pipeline.records import Failure

TPM = "Request too large for model m on tokens per minute (TPM): Limit 6000, Requested 12328"
KINDS = ["dataoorts", "openai"]


def failure(kind: Any, status: int, body: Any) -> Failure:
    endpoint = make_endpoint(EndpointConfig(kind=kind, url="https://example.com/v1", model="m"))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = endpoint.parse(status, {"Content-Type": "application/json"}, data)
    assert isinstance(result, Failure)
    return result


def error(message: str, code: object = None) -> dict[str, Any]:
    return {"error": {"message": message, "code": code}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [421, 423, 424, 425, 449, 460, 498, 499])
def test_refusals_that_mean_not_now_pass(kind: str, status: int) -> None:
    assert failure(kind, status, error("not now")).kind is ErrorKind.SERVER_ERROR


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "expected"), [(401, ErrorKind.BAD_CREDENTIALS), (402, ErrorKind.PAYMENT_REQUIRED)])
@pytest.mark.parametrize("code", [3040, 5006, "rate_limit_exceeded", "context_length_exceeded", None])
def test_401_and_402_speak_of_the_account_whatever_the_code(
    kind: str, status: int, expected: ErrorKind, code: object
) -> None:
    assert failure(kind, status, error("JSON Mode couldn't be met", code)).kind is expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "code"), [(400, 5006), (400, None), (200, 5024), (429, 3040), (500, "400")])
def test_an_answer_that_missed_its_schema_is_asked_again_whatever_its_code(
    kind: str, status: int, code: object
) -> None:
    assert failure(kind, status, error("AiError: JSON Mode couldn't be met", code)).kind is ErrorKind.INVALID_REPLY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [400, 413, 429])
@pytest.mark.parametrize(
    "body",
    [
        error(TPM, "rate_limit_exceeded"),
        error(TPM.upper()),
        error("This model's maximum context length is 512 tokens. However, you requested 1011 tokens", 40303),
        error("request (6012 tokens) exceeds the available context size (512 tokens), try increasing it", 400),
        error("litellm.ContextWindowExceededError: ContextWindowExceededError: OpenAIException - ..."),
        error("prompt is too long: 210000 tokens > 200000 maximum"),
        {"detail": "Request too large"},
        {"object": "error", "message": "maximum context length is 512 tokens", "code": 40303},
        b"413 Request too large",
    ],
)
def test_a_request_that_is_too_large_is_known_by_its_words(kind: str, status: int, body: Any) -> None:
    assert failure(kind, status, body).kind is ErrorKind.REQUEST_TOO_LARGE


@pytest.mark.parametrize("kind", KINDS)
def test_413_is_too_large_whatever_the_code_and_other_statuses_do_not_go_by_the_words(kind: str) -> None:
    assert failure(kind, 413, error("no", "rate_limit_exceeded")).kind is ErrorKind.REQUEST_TOO_LARGE
    assert failure(kind, 413, b"").kind is ErrorKind.REQUEST_TOO_LARGE
    assert failure(kind, 500, error(TPM)).kind is ErrorKind.SERVER_ERROR
    assert failure(kind, 429, error("slow down, request 7 of 5")).kind is ErrorKind.RATE_LIMITED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("code", "counts_as", "expected"),
    [
        (401, 401, ErrorKind.BAD_CREDENTIALS),
        ("402", 402, ErrorKind.PAYMENT_REQUIRED),
        (403, 403, ErrorKind.NOT_ALLOWED),
        ("404", 404, ErrorKind.MODEL_NOT_FOUND),
        (400, 400, ErrorKind.BAD_REQUEST),
        ("413", 413, ErrorKind.REQUEST_TOO_LARGE),
        (429, 429, ErrorKind.RATE_LIMITED),
        ("503", 503, ErrorKind.GATEWAY_ERROR),
        (529, 529, ErrorKind.SERVER_ERROR),
        (499, 499, ErrorKind.SERVER_ERROR),
        (0, 500, ErrorKind.SERVER_ERROR),
        (200, 500, ErrorKind.SERVER_ERROR),
        (99999, 500, ErrorKind.SERVER_ERROR),
        ("overloaded", 500, ErrorKind.SERVER_ERROR),
        (5007, 500, ErrorKind.MODEL_NOT_FOUND),
        ("rate_limit_exceeded", 500, ErrorKind.RATE_LIMITED),
        (None, 200, ErrorKind.INVALID_REPLY),
    ],
)
def test_an_error_within_a_200_counts_as_the_status_that_its_code_names(
    kind: str, code: object, counts_as: int, expected: ErrorKind
) -> None:
    found = failure(kind, 200, error("no", code))
    assert (found.kind, found.status, found.http_status) == (expected, counts_as, 200)
    assert found.possibly_billed


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_too_large_is_known_within_a_200(kind: str) -> None:
    assert failure(kind, 200, error(TPM, "429")).kind is ErrorKind.REQUEST_TOO_LARGE


def test_the_code_of_a_refusal_is_kept() -> None:
    assert failure("dataoorts", 400, {"errors": [{"code": 5006, "message": "no"}]}).code == "5006"
    assert failure("openai", 400, error("no", "invalid_value")).code == "invalid_value"
    assert failure("openai", 400, error("no")).code == failure("openai", 400, b"no").code == ""
