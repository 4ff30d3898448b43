"""The runner against a scripted engine in virtual time: nothing sleeps, every wait is exact."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.errors import CheckpointFailed, ErrorKind, InvalidInput
from pipeline.journal import Event, State
from pipeline.limits.shared import SharedEntry, SharedLimit
from pipeline.plan import FAILED, SUCCEEDED
from pipeline.records import Failure, Reply, Request, Usage
from pipeline.runner import Work
from pipeline.runner.feed import History, refused_last
from tests.support.virtual import Answer, Bench, Script, answered, failed


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(rows: int, script: Script = answered) -> Bench:
        made.append(Bench(tmp_path, rows, script))
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


def test_every_row_gets_its_own_answer_and_no_claim_stays_open(bench: Callable[..., Bench]) -> None:
    job = bench(100)
    assert job.run(concurrency=8) is None
    assert job.count(State.ANSWERED) == 100
    assert [job.record(n).response for n in range(100)] == [f"answer to p{n}" for n in range(100)]
    assert job.journal.claims() == []
    assert job.engine.most_in_flight == 8
    assert job.journal.totals.cost_usd == 100 * (10 * Decimal("0.32") + 5 * Decimal("0.34")) / 10**6


@pytest.mark.parametrize(
    ("concurrency", "sent"), [(32, [32, 16, 16, 16, 16]), (24, [24, 16, 8, 16, 8])], ids=["halves", "at least 16"]
)
def test_half_of_what_has_ended_is_recorded_and_its_slots_filled_before_the_rest_is_looked_at(
    bench: Callable[..., Bench], concurrency: int, sent: list[int]
) -> None:
    job = bench(sum(sent))
    seen: list[tuple[int, int]] = []
    job.engine.at_send = lambda: seen.append((job.count(State.ANSWERED), len(job.journal.claims())))
    assert job.run(concurrency=concurrency) is None
    answered_before = itertools.accumulate(sent[1:], initial=0)
    assert seen == [(answers, concurrency) for answers in answered_before]


def test_a_429_uses_up_no_attempt(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.RATE_LIMITED, http_status=429) if now < 1100 else answered(prompt)

    job = bench(3, script)
    assert job.run(concurrency=4, retry={"max_attempts": 2}) is None
    assert job.count(State.ANSWERED) == 3
    assert min(job.record(position).attempts for position in range(3)) > 2


def test_a_poisonous_row_fails_after_its_attempts_while_the_others_are_answered(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.SERVER_ERROR, http_status=500) if prompt == "p5" else answered(prompt)

    job = bench(50, script)
    assert job.run(concurrency=4, retry={"max_attempts": 3}) is None
    assert job.plan.state(5) is State.FAILED_PASSING
    assert job.count(*SUCCEEDED) == 49
    assert job.record(5).attempts == 3
    assert job.record(5).failed_runs == 1
    assert job.record(5).error_kind == "server_error"


def test_an_outage_of_minutes_fails_no_row_and_is_only_probed(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.SERVER_ERROR, http_status=500) if 1010 < now < 1310 else answered(prompt)

    job = bench(200, script)
    assert job.run(concurrency=8, retry={"max_attempts": 2}) is None
    assert job.count(State.ANSWERED) == 200
    during = [at for at, _ in job.engine.sent if 1020 < at < 1310]
    assert 3 <= len(during) <= 40


def test_an_outage_that_does_not_end_stops_the_run_and_leaves_rows_pending(bench: Callable[..., Bench]) -> None:
    job = bench(20, lambda prompt, attempt, now: failed(ErrorKind.GATEWAY_ERROR, http_status=502))
    stop = job.run(concurrency=4, retry={"max_attempts": 2, "max_elapsed_seconds": 120.0})
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "outage")
    assert job.count(State.NEW, State.ATTEMPTED) == 20
    assert 120 <= job.clock.now - 1000 < 140


def test_fewer_than_five_rows_may_fail_though_nothing_was_answered(bench: Callable[..., Bench]) -> None:
    job = bench(3, lambda prompt, attempt, now: failed(ErrorKind.SERVER_ERROR, http_status=500))
    assert job.run(retry={"max_attempts": 3}) is None
    assert job.count(State.FAILED_PASSING) == 3
    assert set(job.engine.attempts.values()) == {3}


def test_rows_that_failed_in_an_earlier_run_may_fail_again_without_any_answer(bench: Callable[..., Bench]) -> None:
    job = bench(10, lambda prompt, attempt, now: failed(ErrorKind.SERVER_ERROR, http_status=500))
    job.histories = {n: History(2, None, 1) for n in range(10)}
    assert job.run(retry={"max_attempts": 2}) is None
    assert job.count(State.FAILED_PASSING) == 10
    assert job.record(0).attempts == 4
    assert job.record(0).failed_runs == 2


def test_nothing_is_sent_before_retry_after_is_over(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if prompt == "p3" and attempt == 1:
            return failed(ErrorKind.RATE_LIMITED, http_status=429, retry_after=30.0)
        return answered(prompt)

    job = bench(40, script)
    assert job.run(concurrency=4) is None
    refused = next(at for at, prompt in job.engine.sent if prompt == "p3") + 1.0
    after = [at for at, _ in job.engine.sent if at >= refused]
    assert min(after) >= refused + 30.0
    assert job.journal.totals.pause is not None


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("concurrency", "bursts"), [(2, 10), (4, 5), (8, 3), (32, 1)])
def test_rows_that_are_each_refused_once_wait_in_bursts_as_large_as_the_job_allows(
    bench: Callable[..., Bench], status: int, concurrency: int, bursts: int
) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        jitter = int(prompt[1:]) % 7 / 100
        if attempt == 1:
            kind = ErrorKind.RATE_LIMITED if status == 429 else ErrorKind.GATEWAY_ERROR
            return failed(kind, http_status=status, retry_after=1.0)[0], 0.01 + jitter / 10
        return answered(prompt)[0], 0.2 + jitter

    job = bench(20, script)
    assert job.run(concurrency=concurrency) is None
    assert job.count(State.ANSWERED) == 20
    assert job.clock.now - 1000 <= 1.2 * bursts * (1.0 + 0.3)


def test_an_answer_that_asks_for_a_wait_pauses_the_job(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        result, latency = answered(prompt)
        return result._replace(retry_after=40.0) if prompt == "p0" else result, latency

    job = bench(3, script)
    assert job.run(concurrency=1) is None
    assert [at for at, _ in job.engine.sent] == pytest.approx([1000.0, 1041.0, 1042.0], abs=0.1)


def test_a_pause_longer_than_max_elapsed_stops_the_run(bench: Callable[..., Bench]) -> None:
    job = bench(10, lambda *_: failed(ErrorKind.RATE_LIMITED, http_status=429, retry_after=86_400.0))
    stop = job.run(concurrency=2)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "retry_after")
    assert len(job.engine.sent) == 2


def test_credentials_stop_the_run_within_the_requests_in_flight_and_fail_no_row(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.BAD_CREDENTIALS, http_status=401) if now > 1005 else answered(prompt)

    job = bench(500, script)
    stop = job.run(concurrency=8)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "bad_credentials")
    assert job.count(State.FAILED, State.FAILED_PASSING) == 0
    assert sum(at > 1005 for at, _ in job.engine.sent) <= 8


def test_a_row_that_the_endpoint_refuses_fails_at_once(bench: Callable[..., Bench]) -> None:
    job = bench(8, lambda *_: failed(ErrorKind.BAD_REQUEST, http_status=400))
    assert job.run() is None
    assert job.count(State.FAILED) == 8
    assert set(job.engine.attempts.values()) == {1}


def test_the_cap_holds_with_everything_in_flight_at_its_worst(bench: Callable[..., Bench]) -> None:
    job = bench(1000, lambda *_: failed(ErrorKind.TIMEOUT, possibly_billed=True) if _[1] == 1 else answered(_[0]))
    cap = Decimal("0.01")
    stop = job.run(concurrency=16, max_cost_usd=cap)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (4, "cost_cap")
    totals = job.journal.totals
    assert 0 < totals.cost_usd + totals.possibly_billed_usd <= cap


def test_the_deadline_stops_the_run(bench: Callable[..., Bench]) -> None:
    job = bench(1000)
    stop = job.run(concurrency=2, deadline_seconds=10.0)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (4, "deadline")
    assert max(at for at, _ in job.engine.sent) <= 1010
    assert job.count(State.ANSWERED) == len(job.engine.sent)


def test_a_signal_brings_home_what_is_in_flight(bench: Callable[..., Bench]) -> None:
    job = bench(100)
    job.engine.at_send = lambda: job.stop_request.ask(15) if len(job.engine.sent) > 20 else None
    stop = job.run(concurrency=4)
    assert stop is not None
    assert stop.exit_code == 143
    assert job.count(State.ANSWERED) == len(job.engine.sent)
    assert job.journal.claims() == []


def test_what_the_drain_does_not_bring_home_counts_as_possibly_billed(bench: Callable[..., Bench]) -> None:
    job = bench(100)

    def interrupt() -> None:
        job.stop_request.ask(2)
        job.engine.never_ends = True

    job.engine.at_send = interrupt
    stop = job.run(concurrency=4, drain_seconds=7.0)
    assert stop is not None
    assert stop.exit_code == 130
    assert 1007 <= job.clock.now < 1009
    assert job.count(State.ATTEMPTED) == 4
    assert job.journal.totals.possibly_billed_usd > 0
    assert job.journal.claims() == []


@pytest.mark.parametrize(("seconds", "ends"), [(1.1, True), (0.9, False)])
def test_a_second_signal_ends_the_drain_unless_it_is_the_first_one_sent_twice(
    bench: Callable[..., Bench], seconds: float, ends: bool
) -> None:
    job = bench(100)

    def interrupt() -> None:
        job.stop_request.ask(2)
        job.clock.now += seconds
        job.stop_request.ask(2)
        job.engine.never_ends = True

    job.engine.at_send = interrupt
    job.run(concurrency=4, drain_seconds=500.0)
    assert (job.clock.now < 1005) is ends


def test_requests_stay_below_their_rate_over_any_minute(bench: Callable[..., Bench]) -> None:
    job = bench(400)
    assert job.run(concurrency=50, requests_per_minute=100.0) is None
    times = [at for at, _ in job.engine.sent]
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[100:], strict=False))
    assert times[-1] - times[0] < 60 * 4


def test_waiting_rows_do_not_pile_up(bench: Callable[..., Bench]) -> None:
    job = bench(2000, lambda prompt, attempt, now: failed(ErrorKind.RATE_LIMITED, http_status=429))
    job.run(concurrency=4, deadline_seconds=300.0, retry={"initial_seconds": 50.0, "max_seconds": 60.0})
    assert job.fed <= 4 * 3 + 4


def test_an_input_that_breaks_off_does_not_lose_what_is_in_flight(bench: Callable[..., Bench]) -> None:
    job = bench(100)

    def breaking() -> Iterator[Work | Event]:
        yield from itertools.islice(job.works(), 10)
        raise InvalidInput("the input changed")

    with pytest.raises(InvalidInput):
        job.run(feed=breaking(), concurrency=16)
    assert job.count(State.ANSWERED) == 10


def test_a_limit_counts_rows_not_attempts(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.SERVER_ERROR, http_status=500) if attempt == 1 else answered(prompt)

    job = bench(50, script)
    assert job.run(limit=7, concurrency=2) is None
    assert job.count(State.ANSWERED) == 7
    assert sorted({prompt for _, prompt in job.engine.sent}) == sorted(f"p{n}" for n in range(7))


def test_an_answer_without_usage_has_no_cost_and_is_possibly_billed(bench: Callable[..., Bench]) -> None:
    job = bench(6, lambda *_: (Reply("yes", "text", None, Usage(None, 5, None, "{}")), 1.0))
    assert job.run() is None
    assert job.count(State.UNPRICED) == 6
    assert job.record(0).cost_usd is None
    assert job.journal.totals.cost_usd == 0
    assert job.journal.totals.possibly_billed_usd > 0


def test_a_billed_attempt_without_a_usable_result_is_part_of_the_rows_cost(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if attempt == 1:
            return Failure(ErrorKind.INVALID_REPLY, "no", http_status=200, usage=Usage(10, 7, 17, "{}")), 1.0
        return answered(prompt)

    job = bench(1, script)
    assert job.run() is None
    assert job.record(0).cost_usd == (20 * Decimal("0.32") + 12 * Decimal("0.34")) / 10**6
    assert job.record(0).attempts == 2


def test_a_run_stops_when_nothing_comes_back_long_after_the_timeout(bench: Callable[..., Bench]) -> None:
    job = bench(100)
    job.engine.never_ends = True
    stop = job.run(concurrency=4, timeout_seconds=30.0, drain_seconds=5.0)
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "no_progress")
    assert 90 <= job.clock.now - 1000 < 97
    assert job.count(State.ATTEMPTED) == 4
    assert job.count(State.NEW) == 96
    assert job.journal.totals.possibly_billed_usd > 0
    assert job.journal.claims() == []


def test_one_request_that_hangs_lets_the_others_end_first(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        result, latency = answered(prompt)
        return result, 1e9 if prompt == "p1" else latency

    job = bench(300, script)
    stop = job.run(concurrency=2, timeout_seconds=30.0, drain_seconds=5.0)
    assert stop is not None
    assert stop.kind == "no_progress"
    assert job.count(State.ANSWERED) == 299


def test_slow_answers_and_long_pauses_are_no_hang(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if prompt == "p2" and attempt == 1:
            return failed(ErrorKind.RATE_LIMITED, http_status=429, retry_after=500.0)
        return answered(prompt)[0], 29.0

    job = bench(5, script)
    assert job.run(concurrency=2, timeout_seconds=30.0) is None
    assert job.count(State.ANSWERED) == 5


def test_a_program_that_was_stopped_for_hours_is_not_taken_for_one_that_hangs(bench: Callable[..., Bench]) -> None:
    job = bench(50, lambda prompt, attempt, now: (answered(prompt)[0], 20.0))
    stopped: list[bool] = []

    def stop_the_program(progress: object) -> None:
        if job.clock.now > 1010 and not stopped:
            stopped.append(True)
            job.clock.now += 7200
            job.engine.postpone(job.clock.now + 2)  # the senders were stopped too

    assert job.run(concurrency=4, timeout_seconds=30.0, observe=stop_the_program) is None
    assert stopped
    assert job.count(State.ANSWERED) == 50


def test_requests_begin_in_steps_not_all_in_one_instant(bench: Callable[..., Bench]) -> None:
    job = bench(1500, lambda prompt, attempt, now: (answered(prompt)[0], 30.0))
    job.run(concurrency=1000, deadline_seconds=5.0)
    instants = Counter(at for at, _ in job.engine.sent)
    assert max(instants.values()) <= 32
    assert sum(at < 1000.3 for at, _ in job.engine.sent) >= 128
    assert sum(at < 1001.0 for at, _ in job.engine.sent) == 1000


def test_requests_begin_in_steps_again_after_a_pause(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if prompt == "p0" and attempt == 1:
            return failed(ErrorKind.SERVER_ERROR, http_status=503, retry_after=20.0)
        return answered(prompt)[0], 1.0 if now < 1010 else 30.0

    job = bench(900, script)
    job.run(concurrency=400, deadline_seconds=25.0)
    instants = Counter(at for at, _ in job.engine.sent if at > 1010)
    assert sum(instants.values()) >= 390
    assert max(instants.values()) <= 32


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_rows_out_of_attempts_do_not_keep_new_ones_from_being_sent(
    bench: Callable[..., Bench], max_attempts: int
) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.SERVER_ERROR, http_status=500) if prompt in ("p0", "p1") else answered(prompt)

    job = bench(50, script)
    assert job.run(concurrency=1, retry={"max_attempts": max_attempts}) is None
    assert job.count(State.ANSWERED) == 48
    assert job.count(State.FAILED_PASSING) == 2
    assert job.clock.now < 1200


def test_a_request_that_never_reached_the_endpoint_gives_its_place_in_a_rate_back(
    bench: Callable[..., Bench],
) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if attempt <= 3:
            return failed(ErrorKind.CONNECTION_ERROR, sent=False)
        return answered(prompt)

    job = bench(4, script)
    retry = {"initial_seconds": 0.1, "max_seconds": 0.1}
    assert job.run(concurrency=1, requests_per_minute=4.0, tokens_per_minute=1200.0, retry=retry) is None
    assert job.count(State.ANSWERED) == 4
    assert job.clock.now - 1000 < 65


def test_a_request_held_back_by_a_pause_gives_its_place_in_a_rate_back(bench: Callable[..., Bench]) -> None:
    job = bench(2)
    held: list[str] = []

    def hold_back(prompt: str, attempt: int, now: float) -> tuple[Answer | None, float]:
        if not held:
            held.append(prompt)
            job.pause.extend(now + 3.0)
            return None, 0.0
        return answered(prompt)

    job.engine.script = hold_back
    assert job.run(concurrency=1, requests_per_minute=1.0) is None
    assert job.clock.now - 1000 < 70


def test_tokens_of_an_answer_without_usage_count_at_their_most(bench: Callable[..., Bench]) -> None:
    job = bench(3, lambda *_: (Reply("yes", "text", None, Usage()), 1.0))
    job.run(concurrency=1, tokens_per_minute=300.0, deadline_seconds=59.0)
    assert len(job.engine.sent) == 1
    assert (job.record(0).tokens or 0) > 100


def test_a_request_beyond_the_whole_token_rate_is_sent_by_itself_and_does_not_wait_for_ever(
    bench: Callable[..., Bench],
) -> None:
    job = bench(4, lambda *_: (Reply("yes", "text", None, Usage(60, 60, 120, "{}")), 1.0))
    assert job.run(concurrency=4, tokens_per_minute=50.0) is None
    assert job.count(State.ANSWERED) == 4
    times = [at for at, _ in job.engine.sent]
    assert all(60 <= later - earlier < 62 for earlier, later in itertools.pairwise(times))


def bad(*rows: int) -> Script:
    names = {f"p{row}" for row in rows}

    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        return failed(ErrorKind.SERVER_ERROR, http_status=500) if prompt in names else answered(prompt)

    return script


@pytest.mark.parametrize("rows", [range(20, 28), range(8), [*range(4), *range(30, 38), *range(60, 68)]])
@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_bad_rows_side_by_side_fail_within_a_few_rounds_of_attempts(
    bench: Callable[..., Bench], rows: Sequence[int], concurrency: int
) -> None:
    job = bench(120, bad(*rows))
    assert job.run(concurrency=concurrency, retry={"max_attempts": 3}) is None
    assert job.count(State.FAILED_PASSING) == len(rows)
    assert job.count(State.ANSWERED) == 120 - len(rows)
    # Most often one and a half; how many more depends on how the random waits fall.
    assert max(job.engine.attempts[f"p{row}"] for row in rows) <= 4 * 3


@pytest.mark.parametrize(("concurrency", "max_attempts", "head"), [(1, 2, 3), (1, 1, 4), (2, 1, 5)])
def test_rows_out_of_attempts_at_the_head_hold_back_no_other(
    bench: Callable[..., Bench], concurrency: int, max_attempts: int, head: int
) -> None:
    job = bench(12, bad(*range(head)))
    assert job.run(concurrency=concurrency, retry={"max_attempts": max_attempts, "max_elapsed_seconds": 60.0}) is None
    assert (job.count(State.ANSWERED), job.count(State.FAILED_PASSING)) == (12 - head, head)


def test_a_long_outage_takes_no_more_rows_in_hand_than_it_has_to(bench: Callable[..., Bench]) -> None:
    job = bench(3000, lambda prompt, attempt, now: failed(ErrorKind.GATEWAY_ERROR, http_status=502))
    job.run(concurrency=4, retry={"initial_seconds": 0.001, "max_seconds": 0.001, "max_elapsed_seconds": 3000.0})
    assert job.engine.attempts.total() > 2500
    assert len(job.engine.attempts) <= 1010


def test_rows_that_were_refused_before_are_held_back_by_what_they_hold(bench: Callable[..., Bench]) -> None:
    job = bench(10)
    job.histories = {n: History(1, None, 0, was_refused=True) for n in range(9)}
    request = Request("m", ({"role": "user", "content": "x" * 2**22},), {"max_tokens": 100})
    works = [replace(work, request=request) for work in job.works() if isinstance(work, Work)]
    passed = next(refused_last(iter(works), lambda: False))
    assert isinstance(passed, Work)
    assert passed.position == 4


def test_two_outages_in_one_run_fail_no_row(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        is_down = 1005 <= now < 1065 or 1080 <= now < 1140
        return failed(ErrorKind.GATEWAY_ERROR, http_status=503) if is_down else answered(prompt)

    job = bench(400, script)
    assert job.run(concurrency=8, retry={"max_attempts": 1, "max_seconds": 5.0}) is None
    assert job.count(State.ANSWERED) == 400


@pytest.mark.parametrize(("limit", "failed_rows"), [(1, 1), (4, 4), (6, 0)])
def test_a_run_of_a_few_rows_ends_with_them_and_one_of_more_with_the_outage(
    bench: Callable[..., Bench], limit: int, failed_rows: int
) -> None:
    job = bench(50, lambda *_: failed(ErrorKind.GATEWAY_ERROR, http_status=503))
    stop = job.run(concurrency=4, limit=limit, retry={"max_attempts": 2, "max_elapsed_seconds": 60.0})
    assert (stop is None) == (failed_rows > 0)
    assert job.count(*FAILED) == failed_rows
    assert job.clock.now < 1000 + 70


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_rows_that_are_each_refused_with_a_wait_until_out_of_attempts_are_sent_again(
    bench: Callable[..., Bench], max_attempts: int
) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if attempt <= max_attempts:
            return failed(ErrorKind.SERVER_ERROR, http_status=503, retry_after=0.5)
        return answered(prompt)

    job = bench(6, script)
    assert job.run(concurrency=3, retry={"max_attempts": max_attempts}) is None
    assert job.count(State.ANSWERED) == 6
    assert job.clock.now < 1000 + 60


def test_a_pause_as_long_as_max_elapsed_is_followed_by_another_request(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        if attempt == 1:
            return failed(ErrorKind.RATE_LIMITED, http_status=429, retry_after=20.0)
        return answered(prompt)

    job = bench(1, script)
    assert job.run(concurrency=1, retry={"max_elapsed_seconds": 20.0}) is None
    assert job.count(State.ANSWERED) == 1


# ---- a limit that jobs share


def test_a_shared_limit_whose_file_fails_ends_the_run_once_what_is_in_flight_is_home(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    class Failing(SharedLimit):
        let_in = 0

        def reserve(self, tokens: int, now: float) -> SharedEntry | float:
            self.let_in += 1
            if self.let_in > 3:
                raise CheckpointFailed("limits.shared: no space left")
            return super().reserve(tokens, now)

    job, shared = bench(10), Failing(tmp_path / "account", requests_per_minute=600, tokens_per_minute=None)
    with pytest.raises(CheckpointFailed, match="no space left"):
        job.run(concurrency=4, requests_per_minute=600, shared=shared)
    shared.close()
    assert job.count(State.ANSWERED) == 3
    assert job.journal.claims() == []


def test_what_a_run_sent_counts_in_the_shared_limit_as_it_was_billed(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    job = bench(4)
    limits = [
        SharedLimit(tmp_path / "account", requests_per_minute=None, tokens_per_minute=10_000, clock=lambda: 1e9)
        for _ in range(2)
    ]
    assert job.run(concurrency=4, tokens_per_minute=10_000, shared=limits[0]) is None
    # Four replies of 15 tokens each stand in the window: 9,940 more fit.
    now = job.clock.now + 30
    assert isinstance(limits[1].reserve(9_941, now), float)
    assert isinstance(limits[1].reserve(9_940, now), SharedEntry)
    for one in limits:
        one.close()


def test_a_pause_of_another_job_holds_this_one_and_stops_it_where_it_is_too_long(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    job = bench(2)
    limits = [
        SharedLimit(tmp_path / "account", requests_per_minute=600, tokens_per_minute=None, clock=lambda: 1e9)
        for _ in range(2)
    ]
    limits[1].pause(job.clock.now + 30)
    assert job.run(concurrency=1, requests_per_minute=600, shared=limits[0]) is None
    assert [round(at) for at, _ in job.engine.sent] == [1030, 1031]
    limits[1].pause(job.clock.now + 901)
    stop = job.run(concurrency=1, requests_per_minute=600, shared=limits[0])
    assert stop is not None
    assert (stop.exit_code, stop.kind) == (5, "retry_after")
    for one in limits:
        one.close()


def test_a_cap_holds_where_the_server_bills_more_than_the_assumed_worst_case(bench: Callable[..., Bench]) -> None:
    def script(prompt: str, attempt: int, now: float) -> tuple[Answer, float]:
        result, latency = answered(prompt)
        return result._replace(usage=Usage(1000, 5, 1005, "{}")), latency

    cost = (1000 * Decimal("0.32") + 5 * Decimal("0.34")) / 10**6
    job = bench(200, script)
    stop = job.run(concurrency=1, max_cost_usd=100 * cost)
    assert stop is not None and stop.kind == "cost_cap"
    assert 95 <= job.count(State.ANSWERED) <= 100
    assert job.journal.totals.cost_usd <= 100 * cost
    prompt, completion = job.journal.totals.excess["m"]
    assert (prompt > 800, completion) == (True, 0)
    assert 0 < job.runner.progress.over_reserve_usd < cost
    job.run(concurrency=1, max_cost_usd=120 * cost)  # a later run knows it from its first request on
    assert job.runner.progress.over_reserve_usd == 0
    assert job.journal.totals.cost_usd <= 120 * cost


def test_a_run_whose_engine_is_over_lets_what_is_in_flight_end_and_stops(bench: Callable[..., Bench]) -> None:
    job = bench(100)

    def end() -> None:
        if len(job.engine.sent) > 20:
            job.engine.is_over = "the cluster is gone"

    job.engine.at_send = end
    stop = job.run(concurrency=4)
    assert stop is not None
    assert (stop.exit_code, stop.kind, stop.message) == (5, "no_senders", "the cluster is gone")
    assert job.count(State.ANSWERED) == len(job.engine.sent) < 100
    assert job.count(State.NEW) == 100 - len(job.engine.sent)
    assert job.journal.totals.possibly_billed_usd == 0


def test_an_engine_that_is_over_once_every_row_is_answered_stops_nothing(bench: Callable[..., Bench]) -> None:
    job = bench(4)

    def end() -> None:
        job.engine.is_over = "the cluster is gone"

    job.engine.at_send = end
    assert job.run(concurrency=8) is None
    assert job.count(State.ANSWERED) == 4
