"""Whose fault a failure is, by what becomes of the other requests: the runner in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.client import Task
from pipeline.errors import ErrorKind
from pipeline.journal import State
from pipeline.plan import FAILED
from pipeline.records import Failure
from pipeline.runner.feed import History
from pipeline.runner.verdict import is_of_outage
from tests.support.virtual import Answer, Bench, Script, answered, failed

Refusal = dict[str, Any]
FORBIDDEN: Refusal = {"kind": ErrorKind.NOT_ALLOWED, "http_status": 403}
NOT_FOUND: Refusal = {"kind": ErrorKind.MODEL_NOT_FOUND, "http_status": 404}
BAD: Refusal = {"kind": ErrorKind.BAD_REQUEST, "http_status": 400}
PENDING = (State.NEW, State.ATTEMPTED)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(rows: int, script: Script = answered) -> Bench:
        made.append(Bench(tmp_path, rows, script))
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


def refusing(rows: dict[int, Refusal], otherwise: Refusal | None = None) -> Script:
    """Refuses these rows, and the others too where there is an `otherwise`."""

    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        refusal = rows.get(int(prompt[1:]), otherwise)
        return answered(prompt) if refusal is None else failed(**refusal)

    return script


# ---- 403 and 404


@pytest.mark.parametrize("refusal", [FORBIDDEN, NOT_FOUND])
@pytest.mark.parametrize("row", [0, 3, 20, 39])
def test_one_row_that_is_refused_fails_alone_where_others_are_answered(
    bench: Callable[..., Bench], refusal: Refusal, row: int
) -> None:
    job = bench(40, refusing({row: refusal}))
    assert job.run(concurrency=8) is None
    assert job.count(State.ANSWERED) == 39
    assert job.plan.state(row) is State.FAILED
    assert (job.record(row).error_kind, job.record(row).attempts) == (refusal["kind"], 1)


@pytest.mark.parametrize("refusal", [FORBIDDEN, NOT_FOUND])
@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_a_refusal_before_any_answer_stops_the_run(
    bench: Callable[..., Bench], refusal: Refusal, concurrency: int
) -> None:
    job = bench(100, refusing({}, refusal))
    stop = job.run(concurrency=concurrency)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, refusal["kind"])
    assert len(job.engine.sent) == concurrency
    assert job.count(*PENDING) == 100


def test_five_refusals_in_a_row_stop_a_run_that_had_answers_and_leave_all_five_pending(
    bench: Callable[..., Bench],
) -> None:
    job = bench(100, refusing(dict.fromkeys(range(30, 100), FORBIDDEN)))
    stop = job.run(concurrency=1)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "not_allowed")
    assert len(job.engine.sent) == 35
    assert (job.count(State.ANSWERED), job.count(*PENDING), job.count(*FAILED)) == (30, 70, 0)


def test_what_passes_between_refusals_does_not_count(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        row = int(prompt[1:])
        if row < 10:
            return answered(prompt)
        if row % 2 and attempt == 1:
            return failed(ErrorKind.SERVER_ERROR, http_status=500)
        return failed(**FORBIDDEN)

    job = bench(60, script)
    stop = job.run(concurrency=1)
    assert stop is not None
    assert stop.kind == "not_allowed"
    assert job.count(*FAILED) == 0


@pytest.mark.parametrize("other", [{**FORBIDDEN, "code": "moderation"}, NOT_FOUND, BAD])
def test_refusals_that_differ_fail_their_rows(bench: Callable[..., Bench], other: Refusal) -> None:
    rows = {row: FORBIDDEN if row % 5 else other for row in range(10, 30)}
    job = bench(40, refusing(rows))
    assert job.run(concurrency=1) is None
    assert job.count(State.FAILED) == 20


def test_a_refused_row_at_the_head_stops_one_run_and_not_the_next(bench: Callable[..., Bench]) -> None:
    job = bench(10, refusing({0: FORBIDDEN}))
    stop = job.run(concurrency=1)
    assert stop is not None
    assert stop.kind == "not_allowed"
    record = job.record(0)
    job.histories = {0: History.of(record)}
    assert job.run(concurrency=1) is None
    assert job.count(State.ANSWERED) == 9
    assert (job.plan.state(0), job.record(0).attempts) == (State.FAILED, 2)


def test_an_account_that_is_refused_midway_stops_the_run_at_once(bench: Callable[..., Bench]) -> None:
    job = bench(50, refusing({20: {"kind": ErrorKind.PAYMENT_REQUIRED, "http_status": 402}}))
    stop = job.run(concurrency=1)
    assert stop is not None
    assert stop.kind == "payment_required"
    assert (len(job.engine.sent), job.count(*FAILED)) == (21, 0)


# ---- every row refused


@pytest.mark.parametrize("kind", [ErrorKind.BAD_REQUEST, ErrorKind.REQUEST_TOO_LARGE, ErrorKind.SCHEMA_NOT_SUPPORTED])
@pytest.mark.parametrize("concurrency", [1, 32])
def test_twenty_equal_refusals_and_no_answer_stop_a_new_job(
    bench: Callable[..., Bench], kind: ErrorKind, concurrency: int
) -> None:
    job = bench(300, refusing({}, {"kind": kind, "http_status": 400}))
    stop = job.run(concurrency=concurrency)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "all_refused")
    assert job.count(*PENDING) == 300
    assert len(job.engine.sent) <= max(20, concurrency)


def test_fewer_than_twenty_refusals_fail_their_rows(bench: Callable[..., Bench]) -> None:
    job = bench(19, refusing({}, BAD))
    assert job.run(concurrency=4) is None
    assert job.count(State.FAILED) == 19


@pytest.mark.parametrize("odd", [None, {**BAD, "http_status": 422}, {**BAD, "code": "invalid_value"}])
def test_one_answer_or_another_refusal_among_the_first_twenty_lets_each_row_fail(
    bench: Callable[..., Bench], odd: Refusal | None
) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if prompt == "p10":
            return answered(prompt) if odd is None else failed(**odd)
        return failed(**BAD)

    job = bench(60, script)
    assert job.run(concurrency=1) is None
    assert job.count(State.FAILED) == (59 if odd is None else 60)


def test_passing_failures_among_the_first_twenty_do_not_count(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        is_down = attempt == 1 and int(prompt[1:]) % 4 == 0
        return failed(ErrorKind.SERVER_ERROR, http_status=500) if is_down else failed(**BAD)

    job = bench(60, script)
    stop = job.run(concurrency=2)
    assert stop is not None
    assert stop.kind == "all_refused"


# ---- busy


BUSY = [
    {"kind": ErrorKind.RATE_LIMITED, "http_status": 429},
    {"kind": ErrorKind.GATEWAY_ERROR, "http_status": 503},
    {"kind": ErrorKind.SERVER_ERROR, "http_status": 529},
    {"kind": ErrorKind.GATEWAY_ERROR, "http_status": 200, "counts_as": 503},
]


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("max_attempts", [2, 3, 6])
def test_a_row_that_alone_is_refused_for_the_load_fails_after_its_attempts(
    bench: Callable[..., Bench], busy: Refusal, max_attempts: int
) -> None:
    job = bench(400, refusing({7: busy}))
    assert job.run(concurrency=2, retry={"max_attempts": max_attempts, "max_seconds": 4.0}) is None
    assert job.count(State.ANSWERED) == 399
    assert job.plan.state(7) is State.FAILED_PASSING
    assert (job.record(7).error_kind, job.record(7).attempts) == ("rate_limited", max_attempts)


@pytest.mark.parametrize("busy", BUSY)
def test_a_limit_on_what_is_in_flight_fails_no_row(bench: Callable[..., Bench], busy: Refusal) -> None:
    ends: list[float] = []

    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        ends[:] = [end for end in ends if end > now]
        if len(ends) >= 4:
            return failed(**busy)[0], 0.01
        ends.append(now + 1.0)
        return answered(prompt)

    job = bench(120, script)
    # With two attempts, one row in some thousands is by chance the only one that is refused in between.
    assert job.run(concurrency=32, retry={"max_attempts": 4}) is None
    assert job.count(State.ANSWERED) == 120


def test_the_end_of_an_outage_of_503_fails_no_row_though_others_are_answered_again(
    bench: Callable[..., Bench],
) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.GATEWAY_ERROR, http_status=503) if 1005 <= now < 1065 else answered(prompt)

    job = bench(200, script)
    assert job.run(concurrency=8, retry={"max_attempts": 1}) is None
    assert job.count(State.ANSWERED) == 200


# ---- time-outs


def test_time_outs_lower_the_concurrency(bench: Callable[..., Bench]) -> None:
    """A server that works on one request at a time, and goes on with one whose client has given up."""
    free_at = 0.0

    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        nonlocal free_at
        free_at = max(free_at, now) + 0.25
        if free_at - now <= 3.0:
            return answered(prompt)[0], free_at - now
        return failed(ErrorKind.TIMEOUT)[0], 3.0

    job = bench(40, script)
    assert job.run(concurrency=32, retry={"initial_seconds": 0.5, "max_seconds": 10.0}) is None
    assert job.count(State.ANSWERED) == 40
    assert len(job.engine.sent) <= 80


# ---- the end


def test_a_deadline_that_comes_while_the_last_answers_are_on_their_way_stops_nothing(
    bench: Callable[..., Bench],
) -> None:
    job = bench(3, lambda prompt, attempt, now: (answered(prompt)[0], 4.0))
    assert job.run(deadline_seconds=3.0) is None
    assert job.count(State.ANSWERED) == 3


def test_a_deadline_stops_a_run_with_rows_that_were_not_asked(bench: Callable[..., Bench]) -> None:
    job = bench(4, lambda prompt, attempt, now: (answered(prompt)[0], 4.0))
    stop = job.run(concurrency=3, deadline_seconds=3.0)
    assert stop is not None
    assert stop.kind == "deadline"
    assert job.count(State.NEW) == 1


def test_an_outage_names_its_last_cause(bench: Callable[..., Bench]) -> None:
    job = bench(20, lambda *_: failed(ErrorKind.GATEWAY_ERROR, http_status=502))
    seen: list[Any] = []
    stop = job.run(concurrency=4, retry={"max_elapsed_seconds": 30.0}, observe=lambda one: seen.append(one.trouble))
    assert stop is not None
    assert stop.message.endswith("failures in a row: no")
    assert seen[0] is None
    assert (seen[-2].cause, seen[-2].failures > 4, 0 <= seen[-2].gives_up_in < 30) == ("no", True, True)


def test_a_single_failure_is_no_trouble_and_an_answer_ends_it(bench: Callable[..., Bench]) -> None:
    seen: list[Any] = []
    job = bench(30, refusing({4: {"kind": ErrorKind.SERVER_ERROR, "http_status": 500}}))
    job.run(concurrency=1, retry={"max_attempts": 2}, observe=lambda one: seen.append(one.trouble))
    assert seen == [None] * len(seen)


def test_probes_of_an_outage_go_over_new_connections(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.CONNECTION_ERROR) if now < 1060 else answered(prompt)

    job = bench(20, script)
    sent: list[tuple[float, bool]] = []
    send = job.engine.send

    def noted(tasks: Sequence[Task]) -> None:
        sent.extend((job.clock.now, task.fresh) for task in tasks)
        send(tasks)

    job.engine.send = noted  # type: ignore[method-assign]
    assert job.run(concurrency=8) is None
    assert [fresh for at, fresh in sent if at <= 1000] == [False] * 8
    assert {fresh for at, fresh in sent if 1010 < at < 1060} == {True}
    assert not sent[-1][1]


@pytest.mark.parametrize(
    ("kind", "is_down"),
    [(ErrorKind.SERVER_ERROR, True), (ErrorKind.GATEWAY_ERROR, True), (ErrorKind.BAD_REQUEST, False)],
)
def test_a_5xx_that_refuses_the_request_does_not_say_that_its_server_is_down(kind: ErrorKind, is_down: bool) -> None:
    assert is_of_outage(Failure(kind, "no", http_status=500)) is is_down
