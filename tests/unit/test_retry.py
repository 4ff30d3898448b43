from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from pipeline.errors import ErrorKind
from pipeline.records import Failure
from pipeline.retry import PASSING, Backoff, Decision, asked_wait, decide, retry_after

NOW = datetime(2015, 10, 21, 7, 28, 0, tzinfo=UTC)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_decision_and_only_passing_ones_are_tried_again(kind: ErrorKind) -> None:
    again = decide(Failure(kind, "")) in {Decision.RETRY, Decision.WAIT}
    assert again == (kind in PASSING)


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMITED, ErrorKind.OUT_OF_CAPACITY])
def test_429_uses_up_no_attempt(kind: ErrorKind) -> None:
    assert decide(Failure(kind, "", http_status=429)) is Decision.WAIT


def test_a_passing_error_under_status_429_uses_up_no_attempt() -> None:
    assert decide(Failure(ErrorKind.SERVER_ERROR, "", http_status=429)) is Decision.WAIT
    assert decide(Failure(ErrorKind.SERVER_ERROR, "", http_status=500)) is Decision.RETRY


def test_what_was_not_sent_uses_up_no_attempt() -> None:
    assert decide(Failure(ErrorKind.CONNECTION_ERROR, "", sent=False)) is Decision.WAIT
    assert decide(Failure(ErrorKind.CONNECTION_ERROR, "", sent=True)) is Decision.RETRY


def test_a_job_wide_refusal_stops_even_where_nothing_was_sent() -> None:
    assert decide(Failure(ErrorKind.TLS_ERROR, "", sent=False)) is Decision.STOP
    assert decide(Failure(ErrorKind.DAILY_QUOTA, "", http_status=429)) is Decision.STOP


def test_a_prompt_that_cannot_be_made_fails_its_row() -> None:
    assert decide(Failure(ErrorKind.EMPTY_PROMPT, "", sent=False)) is Decision.FAIL


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("1e2", 100.0),
        ("99999999999", 99999999999.0),
        ("Wed, 21 Oct 2015 07:29:00 GMT", 60.0),
        ("Wednesday, 21-Oct-15 07:29:00 GMT", 60.0),
        ("Wed Oct 21 07:29:00 2015", 60.0),
        ("Wed, 21 Oct 2015 09:29:00 +0200", 60.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after({"Retry-After": value}, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "-0.5",
        "nan",
        "inf",
        "Infinity",
        "1e999",
        "9" * 400,
        "1_000",
        "soon",
        ",",
        "-1, soon",
        "1 s",
        "0x10",
        "٣",
        "Wed, 99 Oct 2015 07:29:00 GMT",
        "Wed, 21 Oct 2015 25:61:00 GMT",
        "2015-10-21T07:29:00Z",
    ],
)
def test_a_retry_after_that_is_no_sound_one_counts_as_absent(value: str) -> None:
    assert retry_after({"Retry-After": value}, NOW) is None


def test_the_header_is_found_whatever_its_case() -> None:
    assert retry_after({"rEtry-aFter": "3"}, NOW) == 3.0
    assert retry_after({}, NOW) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "5, 5"}, 5.0),
        ({"Retry-After": "1,2 , 0.5"}, 2.0),
        ({"Retry-After": "soon, 7, -9, 1e999"}, 7.0),
        ({"Retry-After": "3", "retry-after": "4"}, 4.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT, Wed, 21 Oct 2015 07:30:00 GMT"}, 120.0),
        ({"Retry-After": "9, Wednesday, 21-Oct-15 07:29:00 GMT"}, 60.0),
        ({"Retry-After": "Wed Oct 21 07:29:00 2015, 90"}, 90.0),
    ],
)
def test_of_several_retry_afters_the_longest_sound_one_counts(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, NOW) == seconds


def test_the_longest_pause_leaves_room_to_reckon_with_it() -> None:
    assert retry_after({"Retry-After": "1e300"}, NOW) == 1e12


def test_a_date_is_measured_by_the_clock_of_the_endpoint_where_it_shows() -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:50 GMT"}
    assert retry_after(headers, NOW.replace(day=20)) == 10.0


def test_the_windows_of_the_backoff_double_up_to_the_longest() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    backoff = Backoff(1.0, 60.0, Highest())
    assert [backoff.seconds(tries) for tries in (1, 2, 3, 6, 7, 8, 5000)] == [1, 2, 4, 32, 60, 60, 60]


def test_a_first_window_beyond_the_longest_is_cut() -> None:
    assert all(0 <= Backoff(100.0, 5.0).seconds(tries) <= 5.0 for tries in range(1, 50))


def test_the_backoff_is_jittered_and_repeats_with_its_source() -> None:
    waits = [Backoff(1.0, 60.0, random.Random(7)).seconds(4) for _ in range(2)]
    assert waits[0] == waits[1]
    backoff = Backoff(1.0, 60.0, random.Random(7))
    assert len({backoff.seconds(4) for _ in range(20)}) == 20


TODAY = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def in_seconds(value: str, **headers: str) -> float | None:
    return retry_after({"Retry-After": value, **headers}, TODAY)


@pytest.mark.parametrize("written", ["{}", "{}.5", "{}e0", "+{}"])
def test_a_number_near_the_present_unix_time_is_a_moment(written: str) -> None:
    assert in_seconds(written.format(int(TODAY.timestamp()) + 2)) == pytest.approx(2, abs=0.5)


def test_a_unix_time_that_is_past_means_now_and_one_far_off_means_seconds() -> None:
    assert in_seconds(str(TODAY.timestamp() - 90 * 86400)) == 0.0
    assert in_seconds(str(TODAY.timestamp() + 360 * 86400)) == 360 * 86400
    far = TODAY.timestamp() + 370 * 86400
    assert in_seconds(str(far)) == far
    assert in_seconds("86400") == 86400


def test_a_unix_time_is_measured_against_the_clock_of_the_reply() -> None:
    theirs = datetime(2031, 5, 1, 0, 0, tzinfo=UTC)
    date = format_datetime(theirs, usegmt=True)
    assert in_seconds(str(theirs.timestamp() + 7), Date=date) == 7
    assert in_seconds(str(TODAY.timestamp() + 7), Date="Thu, 01 Jan 1970 00:00:00 GMT") == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "0"}, 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "60"}, 1.5),
        ({"retry-after-ms": "soon", "Retry-After": "60"}, 60.0),
        ({"retry-after-ms": "-5"}, None),
        ({"retry-after-ms": "1e999", "Retry-After": "x"}, None),
        ({"llm_provider-retry-after": "60"}, 60.0),
        ({"llm_provider-retry-after": "60", "Retry-After": "2"}, 2.0),
    ],
)
def test_a_wait_in_milliseconds_goes_before_one_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(503, headers, NOW) == seconds


def limits(remaining: tuple[str, str], reset: tuple[str, str]) -> dict[str, str]:
    return {
        "x-ratelimit-remaining-requests": remaining[0],
        "X-RateLimit-Remaining-Tokens": remaining[1],
        "x-ratelimit-reset-requests": reset[0],
        "x-ratelimit-reset-tokens": reset[1],
    }


@pytest.mark.parametrize(
    ("remaining", "reset", "seconds"),
    [
        (("0", "5"), ("6m0s", "20ms"), 360.0),
        (("5", "0"), ("6m0s", "20ms"), 0.02),
        (("0", "0"), ("1s", "1m30.5s"), 90.5),
        (("0", "0"), ("1h", "soon"), 3600.0),
        (("0", "9"), ("7.5", "1s"), 7.5),
        (("0", "9"), ("1d2h3m4s5ms", ""), 93_784.005),
        (("1", "1"), ("1s", "1s"), None),
        (("0", "0"), ("", "s"), None),
        (("", "none"), ("1s", "1s"), None),
        (("-0", "0x0"), ("1s", "1s"), None),
    ],
)
def test_a_429_without_a_wait_holds_until_the_limit_that_is_used_up_is_full_again(
    remaining: tuple[str, str], reset: tuple[str, str], seconds: float | None
) -> None:
    headers = limits(remaining, reset)
    assert asked_wait(429, headers, NOW) == (None if seconds is None else pytest.approx(seconds))
    assert asked_wait(503, headers, NOW) is None
    assert asked_wait(429, {**headers, "Retry-After": "2"}, NOW) == 2.0
    assert asked_wait(429, {**headers, "Retry-After": "nan"}, NOW) == asked_wait(429, headers, NOW)
