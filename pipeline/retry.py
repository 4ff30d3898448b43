"""What follows a failed attempt: a table of decisions, the wait that the endpoint asks for, the backoff. Nothing here
waits.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from pipeline.errors import ErrorKind
from pipeline.records import Failure


class Decision(Enum):
    """What to do with a row whose attempt failed."""

    RETRY = "retry"
    """Send it again after a backoff; an attempt is used up."""
    WAIT = "wait"
    """Send it again after a pause; no attempt is used up."""
    FAIL = "fail"
    """The row fails: the same request would fail again."""
    REFUSE = "refuse"
    """The run stops, unless the endpoint answers others: then the row fails."""
    STOP = "stop"
    """The run stops: every row would fail so."""


_DECISIONS: Mapping[ErrorKind, Decision] = {
    ErrorKind.EMPTY_PROMPT: Decision.FAIL,
    ErrorKind.PROMPT_ERROR: Decision.FAIL,
    ErrorKind.IMAGE_ERROR: Decision.FAIL,
    ErrorKind.CONTEXT_WINDOW_EXCEEDED: Decision.FAIL,
    ErrorKind.BAD_REQUEST: Decision.FAIL,
    ErrorKind.REQUEST_TOO_LARGE: Decision.FAIL,
    ErrorKind.SCHEMA_NOT_SUPPORTED: Decision.FAIL,
    ErrorKind.REPLY_TOO_LARGE: Decision.FAIL,
    ErrorKind.INVALID_ANSWER: Decision.FAIL,
    ErrorKind.TRUNCATED_ANSWER: Decision.FAIL,
    ErrorKind.RATE_LIMITED: Decision.WAIT,
    ErrorKind.OUT_OF_CAPACITY: Decision.WAIT,
    ErrorKind.TIMEOUT: Decision.RETRY,
    ErrorKind.SERVER_ERROR: Decision.RETRY,
    ErrorKind.GATEWAY_ERROR: Decision.RETRY,
    ErrorKind.CONNECTION_ERROR: Decision.RETRY,
    ErrorKind.INVALID_REPLY: Decision.RETRY,
    ErrorKind.BAD_CREDENTIALS: Decision.STOP,
    ErrorKind.NOT_ALLOWED: Decision.REFUSE,
    ErrorKind.PAYMENT_REQUIRED: Decision.STOP,
    ErrorKind.MODEL_NOT_FOUND: Decision.REFUSE,
    ErrorKind.DAILY_QUOTA: Decision.STOP,
    ErrorKind.REDIRECTED: Decision.STOP,
    ErrorKind.TLS_ERROR: Decision.STOP,
}

PASSING: frozenset[ErrorKind] = frozenset(
    kind for kind, decision in _DECISIONS.items() if decision in {Decision.RETRY, Decision.WAIT}
)
"""The kinds of failure that later runs try again."""


def decide(failure: Failure) -> Decision:
    """Return what follows from a failure. A request that was not sent, or a 429 that passes, uses up no attempt."""
    decision = _DECISIONS[failure.kind]
    if decision is Decision.RETRY and (not failure.sent or failure.status == 429):
        return Decision.WAIT
    return decision


_TOO_MANY_REQUESTS = 429
_WAIT_HEADERS = frozenset({"retry-after-ms", "retry-after", "llm_provider-retry-after"})
_NONE_LEFT = re.compile(r"\+?0+(\.0*)?", re.ASCII)
_UNITS: Mapping[str, float] = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"(\d{1,15}(?:\.\d{0,15})?)(ms|us|µs|ns|[dhms])", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_YEAR_SECONDS = 365.25 * 24 * 3600
_MAX_SECONDS = 1e12  # thirty thousand years: sums of it are still exact to a fraction of a second
_SECONDS = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2,8},? [^:,]*\d\d:\d\d:\d\d( GMT| UTC| [+-]\d{4}| \d{4})", re.ASCII)
_VALUE = re.compile(r"((?:\s*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,)?[^,]+)")  # a date may have a comma of its own


def asked_wait(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how many seconds the endpoint asks to wait, by the first header that gives a valid time; None if none
    does.

    `retry-after-ms` comes first (Azure sends it, and OpenAI's own client reads it first), then Retry-After, then
    `llm_provider-retry-after`, in which LiteLLM's proxy forwards the Retry-After of the server behind it. A 429 without
    these may tell when a limit that is used up is full again: `x-ratelimit-reset-requests` and `-tokens` with a
    remaining count of 0 ("Rate limits" in OpenAI's guide). The longer of both counts.
    """
    if status != _TOO_MANY_REQUESTS and not any(name.lower() in _WAIT_HEADERS for name in headers):
        return None  # as nearly every answer
    milliseconds = [_milliseconds(value) for value in _header(headers, "retry-after-ms")]
    found = max((seconds for seconds in milliseconds if seconds is not None), default=None)
    if found is None:
        found = retry_after(headers, now)
    if found is None:
        found = retry_after(headers, now, "llm_provider-retry-after")
    if found is None and status == _TOO_MANY_REQUESTS:
        resets = [_reset(headers, limit, now) for limit in ("requests", "tokens")]
        found = max((seconds for seconds in resets if seconds is not None), default=None)
    return found


def retry_after(headers: Mapping[str, str], now: datetime, name: str = "retry-after") -> float | None:
    """Return how many seconds the endpoint asks to wait; None if it gives no valid time.

    Retry-After is a finite number >= 0 or an HTTP-date (RFC 9110, 10.2.3). Some servers send a Unix time: a number
    within a year of the present is one. A moment in the past is 0.0. Moments are compared with the reply's own Date if
    there is one, so a wrong local clock does no harm, otherwise with `now` (with a time zone). If a gateway adds a
    header of its own to the server's, the longest valid value counts.
    """
    date = next(filter(None, map(_http_date, _header(headers, "date"))), None)
    found = [_wait(value.strip(), date, now) for header in _header(headers, name) for value in _VALUE.findall(header)]
    return max((seconds for seconds in found if seconds is not None), default=None)


def _milliseconds(value: str) -> float | None:
    if not _SECONDS.fullmatch(value):
        return None
    milliseconds = float(value)
    return min(milliseconds / 1000, _MAX_SECONDS) if math.isfinite(milliseconds) else None


def _reset(headers: Mapping[str, str], limit: str, now: datetime) -> float | None:
    """Return how many seconds a limit needs until it is full again, if it is used up and the reply says so."""
    remaining = _header(headers, f"x-ratelimit-remaining-{limit}")
    if not remaining or not all(map(_NONE_LEFT.fullmatch, remaining)):
        return None
    waits = [_duration(value, now) for value in _header(headers, f"x-ratelimit-reset-{limit}")]
    return max((seconds for seconds in waits if seconds is not None), default=None)


def _duration(value: str, now: datetime) -> float | None:
    """Return the seconds of `6m0s`, `1.5s` or `20ms`, as Go writes durations. A plain number is one of Retry-After."""
    if _SECONDS.fullmatch(value):
        return _wait(value, None, now)
    if not value or not _DURATION.fullmatch(value):
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
    return min(seconds, _MAX_SECONDS)


def _wait(value: str, date: datetime | None, now: datetime) -> float | None:
    if _SECONDS.fullmatch(value):
        seconds = float(value)
        for present in [moment.timestamp() for moment in (date, now) if moment is not None]:
            if abs(seconds - present) <= _YEAR_SECONDS:
                return max(0.0, seconds - present)
        return min(seconds, _MAX_SECONDS) if math.isfinite(seconds) else None
    until = _http_date(value)
    return None if until is None else max(0.0, (until - (date or now)).total_seconds())


class Backoff:
    """Exponential backoff with full jitter: a random wait in a window that doubles with each try.

    The first window is `initial_seconds` wide, and none is wider than `max_seconds`. Full jitter is the one of the
    schemes compared in https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ that asks the least of
    the server.
    """

    def __init__(self, initial_seconds: float, max_seconds: float, source: random.Random | None = None) -> None:
        self._initial = initial_seconds
        self._longest = max_seconds
        self._source = source or random.Random()

    def seconds(self, tries: int) -> float:
        """Return how long to wait after this many failed tries (from 1)."""
        try:
            window = math.ldexp(self._initial, tries - 1)
        except OverflowError:
            window = self._longest
        return self._source.uniform(0.0, min(window, self._longest))


def _header(headers: Mapping[str, str], name: str) -> list[str]:
    return [value.strip() for key, value in headers.items() if key.lower() == name]


def _http_date(value: str) -> datetime | None:
    if not _HTTP_DATE.fullmatch(value):
        return None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
