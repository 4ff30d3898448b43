"""What a response without a usable answer means: by its error code first, then its status, then its shape.

Three things go before the code: 401 and 402, which always speak of the account, a request that is too large, which no
other attempt makes smaller, and a structured answer that the model did not manage, which the next attempt may bring.

The codes are those of Workers AI ("Errors" in its documentation), whose envelope Dataoorts shares; the words are those
of OpenAI's guide "Error codes". Cloudflare documents the statuses 520 to 530.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import ErrorKind
from pipeline.providers.messages import MAX_MESSAGE, errors_of, is_from_gateway

_CODES: Mapping[str, ErrorKind] = {
    "10000": ErrorKind.BAD_CREDENTIALS,
    "3023": ErrorKind.NOT_ALLOWED,
    "5016": ErrorKind.NOT_ALLOWED,
    "5018": ErrorKind.NOT_ALLOWED,
    "3041": ErrorKind.NOT_ALLOWED,
    "5007": ErrorKind.MODEL_NOT_FOUND,
    "3042": ErrorKind.MODEL_NOT_FOUND,
    "7003": ErrorKind.MODEL_NOT_FOUND,
    "7000": ErrorKind.MODEL_NOT_FOUND,
    "3036": ErrorKind.DAILY_QUOTA,
    "4006": ErrorKind.DAILY_QUOTA,
    "3003": ErrorKind.BAD_REQUEST,
    "5004": ErrorKind.BAD_REQUEST,
    "5006": ErrorKind.BAD_REQUEST,
    "8001": ErrorKind.BAD_REQUEST,
    "3006": ErrorKind.REQUEST_TOO_LARGE,
    "5021": ErrorKind.REQUEST_TOO_LARGE,
    "3010": ErrorKind.REQUEST_TOO_LARGE,
    "5025": ErrorKind.SCHEMA_NOT_SUPPORTED,
    "3040": ErrorKind.OUT_OF_CAPACITY,
    "3021": ErrorKind.RATE_LIMITED,
    "3007": ErrorKind.TIMEOUT,
    "3008": ErrorKind.TIMEOUT,
    "3046": ErrorKind.TIMEOUT,
    "3043": ErrorKind.SERVER_ERROR,
    "8008": ErrorKind.SERVER_ERROR,
    "invalid_api_key": ErrorKind.BAD_CREDENTIALS,
    "account_deactivated": ErrorKind.NOT_ALLOWED,
    "unsupported_country_region_territory": ErrorKind.NOT_ALLOWED,
    "insufficient_quota": ErrorKind.PAYMENT_REQUIRED,
    "billing_hard_limit_reached": ErrorKind.PAYMENT_REQUIRED,
    "billing_not_active": ErrorKind.PAYMENT_REQUIRED,
    "model_not_found": ErrorKind.MODEL_NOT_FOUND,
    "context_length_exceeded": ErrorKind.REQUEST_TOO_LARGE,
    "string_above_max_length": ErrorKind.REQUEST_TOO_LARGE,
    "rate_limit_exceeded": ErrorKind.RATE_LIMITED,
}

_CODES_OF_FASTCHAT: Mapping[str, ErrorKind] = {
    "40101": ErrorKind.BAD_CREDENTIALS,
    "40102": ErrorKind.BAD_CREDENTIALS,
    "40103": ErrorKind.NOT_ALLOWED,
    "40301": ErrorKind.MODEL_NOT_FOUND,
    "40303": ErrorKind.REQUEST_TOO_LARGE,
    "42901": ErrorKind.RATE_LIMITED,
    "42903": ErrorKind.OUT_OF_CAPACITY,
    **dict.fromkeys(map(str, range(50001, 50007)), ErrorKind.SERVER_ERROR),
}
"""`ErrorCode` in FastChat's constants.py. All of them come with status 400, also where a worker is not there."""

_STATUSES: Mapping[int, ErrorKind] = {
    401: ErrorKind.BAD_CREDENTIALS,
    402: ErrorKind.PAYMENT_REQUIRED,
    403: ErrorKind.NOT_ALLOWED,
    404: ErrorKind.MODEL_NOT_FOUND,
    405: ErrorKind.MODEL_NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    409: ErrorKind.SERVER_ERROR,
    413: ErrorKind.REQUEST_TOO_LARGE,
    429: ErrorKind.RATE_LIMITED,
    **dict.fromkeys([421, 423, 424, 425, 449, 460, 498, 499], ErrorKind.SERVER_ERROR),
    **dict.fromkeys([502, 503, 504, *range(520, 528), 530], ErrorKind.GATEWAY_ERROR),
}

_ERROR_STATUS = re.compile(r"[45]\d\d", re.ASCII)
_CODE_IN_TEXT = re.compile(r"AiError:\s*(\d{4,5})\b|^\s*(\d{4,5}):|\((\d{4,5})\)\s*$")
_SCHEMA_NOT_MET = re.compile(r"json mode could ?n.t be met|json mode could not be met", re.IGNORECASE)
_DAILY = re.compile(r"\bdaily\b.{0,60}\b(allocation|quota|limit)", re.IGNORECASE)
_TOO_LARGE = re.compile(
    r"request (is )?too large|(prompt|input|request) is too long|reduce the length of the"
    r"|exceed(s|ed)? the (available |model's )?(maximum )?context|maximum context length"
    r"|context_?(length|window)_?exceeded|exceed_context_size",
    re.IGNORECASE,
)
"""As OpenAI, Groq, Anthropic, vLLM, llama.cpp and FastChat say it; LiteLLM passes on what the server behind it says."""
_STATUSES_OF_TOO_LARGE = frozenset({400, 413, 429})
_INVALID = re.compile(r"(\d+ validation errors?:\s*|\[)\{'type': '\w+', 'loc': \('body',")
"""How FastAPI describes a request that it does not take (its RequestValidationError as text). llama-cpp-python's server
tells it with a 500.
"""


def classify(status: int, headers: Mapping[str, str], text: str, document: Any) -> ErrorKind:
    """Return the kind of failure; `text` is the body, `document` its JSON value or None."""
    if 300 <= status < 400:
        return ErrorKind.REDIRECTED
    errors = errors_of(document)
    counted = counted_status(status, document)
    if counted in (401, 402):
        return _STATUSES[counted]
    if any(_SCHEMA_NOT_MET.search(message) for _, message in errors):
        return ErrorKind.INVALID_REPLY
    if counted == 413 or (counted in _STATUSES_OF_TOO_LARGE and _speaks_of_size(errors, text)):
        return ErrorKind.REQUEST_TOO_LARGE
    for code, message in errors:
        if (kind := _by_code(code, message)) is not None:
            return kind
    if 200 <= counted < 300:
        return ErrorKind.INVALID_REPLY
    if counted == 403 and is_from_gateway(headers, text):
        return ErrorKind.GATEWAY_ERROR
    if counted == 429 and any(_DAILY.search(message) for _, message in errors):
        return ErrorKind.DAILY_QUOTA
    if counted in _STATUSES:
        return _STATUSES[counted]
    if 400 <= counted < 500:
        return ErrorKind.BAD_REQUEST
    if any(_INVALID.match(message) for _, message in errors):
        return ErrorKind.BAD_REQUEST
    return ErrorKind.SERVER_ERROR if 500 <= counted < 600 else ErrorKind.INVALID_REPLY


def counted_status(status: int, document: Any) -> int:
    """Return the status that a reply counts as.

    An error within a 2xx counts as the status that its code names, and as 500 if the code names none. An error without
    a code leaves a 2xx what it is.
    """
    if not 200 <= status < 300 or not (code := error_code(document)):
        return status
    return int(code) if _ERROR_STATUS.fullmatch(code) else 500


def error_code(document: Any) -> str:
    """Return the code of the first error that has one, as text; empty if there is none."""
    return next((code for code, _ in errors_of(document) if code), "")


def is_possibly_billed(status: int) -> bool:
    """Return whether an attempt that ended so, without an account of its tokens, may have been billed."""
    return 200 <= status < 300 or status in {408, 504, 524}


def _by_code(code: str, message: str) -> ErrorKind | None:
    if (kind := _CODES.get(code) or _CODES_OF_FASTCHAT.get(code)) is not None:
        return kind
    for match in _CODE_IN_TEXT.finditer(message):
        found = next(group for group in match.groups() if group)
        if found in _CODES:
            return _CODES[found]
    return None


def _speaks_of_size(errors: list[tuple[str, str]], text: str) -> bool:
    messages = [message for _, message in errors if message]
    return any(map(_TOO_LARGE.search, messages or [text[: 10 * MAX_MESSAGE]]))
