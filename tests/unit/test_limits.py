from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise

import pytest

from pipeline.limits import AdaptiveConcurrency, Budget, LearnedRate, Outage, SlidingWindow, ramp

# ---- concurrency


def test_a_thousand_requests_do_not_go_out_in_one_instant_but_within_a_second() -> None:
    assert ramp(0.0, 64) == 32
    assert ramp(0.3, 64) >= 128
    assert ramp(1.0, 64) >= 1024
    assert ramp(1.0, 20_000) <= 11_000
    assert ramp(2.0, 20_000) >= 20_000
    limits = [ramp(tick / 64, 64) for tick in range(64)]
    assert all(later - earlier <= 17 for earlier, later in pairwise(limits))


def refuse(concurrency: AdaptiveConcurrency, times: int, sent_at: float, now: float) -> None:
    for _ in range(times):
        concurrency.refused(sent_at, now)


def test_a_burst_of_refusals_cuts_once() -> None:
    concurrency = AdaptiveConcurrency(100)
    refuse(concurrency, 100, 10.0, 11.0)
    assert concurrency.limit == 70


def test_a_second_burst_that_was_sent_after_the_cut_cuts_again() -> None:
    concurrency = AdaptiveConcurrency(100)
    refuse(concurrency, 100, 10.0, 11.0)
    refuse(concurrency, 100, 11.0, 12.0)
    assert concurrency.limit == 49


def test_it_never_stands_still() -> None:
    concurrency = AdaptiveConcurrency(4)
    for second in range(50):
        refuse(concurrency, 10, second, second)
    assert concurrency.limit == 1


def test_refusals_now_and_then_cut_nothing() -> None:
    concurrency = AdaptiveConcurrency(100)
    for number in range(2000):
        if number % 25 == 0:
            concurrency.refused(number, number)
        concurrency.answered(number, 100)
    assert concurrency.limit == 100


def test_it_grows_back_within_four_rounds_of_answers_while_all_slots_are_in_use() -> None:
    concurrency = AdaptiveConcurrency(100)
    refuse(concurrency, 10, 0.0, 1.0)
    answers = 0
    while concurrency.limit < 100:
        concurrency.answered(2.0, concurrency.limit)
        answers += 1
    assert answers <= 4 * 100


def test_it_does_not_grow_while_slots_are_free_nor_by_what_was_sent_before_the_cut() -> None:
    concurrency = AdaptiveConcurrency(100)
    refuse(concurrency, 10, 0.0, 1.0)
    for _ in range(1000):
        concurrency.answered(2.0, 69)
        concurrency.answered(0.5, 100)
    assert concurrency.limit == 70


# ---- outage


def outage() -> Outage:
    return Outage(backoff=lambda tries: float(2**tries), most_seconds=900.0)


def test_five_failures_in_a_row_open_the_breaker_and_a_usable_reply_closes_it() -> None:
    breaker = outage()
    for second in range(4):
        breaker.failed(second, counts=True)
    assert not breaker.is_open
    breaker.failed(4.0, counts=True)
    assert breaker.is_open
    assert breaker.usable()
    assert not breaker.is_open
    assert breaker.gives_up_at() is None


def test_a_usable_reply_between_failures_keeps_it_closed() -> None:
    breaker = outage()
    for second in range(40):
        breaker.failed(second, counts=True)
        if second % 4 == 3:
            assert not breaker.usable()
    assert not breaker.is_open


def test_failures_that_do_not_count_only_start_the_time_after_which_the_run_gives_up() -> None:
    breaker = outage()
    for second in range(20):
        breaker.failed(100.0 + second, counts=False)
    assert not breaker.is_open
    assert breaker.gives_up_at() == 1000.0


def test_probes_come_at_growing_intervals_and_a_burst_of_failures_is_one() -> None:
    breaker = outage()
    for _ in range(50):
        breaker.failed(0.0, counts=True)
    assert breaker.next_probe == 2.0
    breaker.failed(2.0, counts=True)
    assert breaker.next_probe == 6.0
    breaker.failed(6.5, counts=True)
    assert breaker.next_probe == 14.5


# ---- money


def test_what_is_in_flight_is_reserved_at_its_worst_and_given_back_when_it_is_known() -> None:
    budget = Budget(job_cap=Decimal(10), run_cap=None, spent=Decimal(4))
    budget.reserve(Decimal(5))
    assert not budget.allows(Decimal(2))
    budget.settle(Decimal(5), Decimal(1))
    assert budget.allows(Decimal(5))
    assert not budget.allows(Decimal("5.000000000001"))


def test_the_lower_of_two_caps_counts() -> None:
    assert not Budget(job_cap=Decimal(10), run_cap=Decimal(1), spent=Decimal(4)).allows(Decimal(2))
    assert not Budget(job_cap=Decimal(5), run_cap=Decimal(3), spent=Decimal(4)).allows(Decimal(2))


def test_what_has_no_known_price_never_fits_under_a_cap() -> None:
    assert not Budget(job_cap=None, run_cap=Decimal(100), spent=Decimal(0)).allows(None)
    assert Budget(job_cap=None, run_cap=None, spent=Decimal(0)).allows(None)


def test_a_job_that_has_spent_more_than_a_lowered_cap_sends_nothing() -> None:
    assert not Budget(job_cap=Decimal(1), run_cap=None, spent=Decimal(2)).allows(Decimal(0))


# ---- the learned rate (its figures against whole endpoints: test_limits_learned.py)


def send(rate: LearnedRate, times: int, begin: float, end: float) -> None:
    for number in range(times):
        rate.take(begin + (end - begin) * number / times)


def spacing(rate: LearnedRate, now: float) -> float:
    """Seconds between requests from now on."""
    rate.take(now)
    rate.take(now)
    first = rate.wait(now)
    rate.take(now)
    return rate.wait(now) - first


def test_the_rate_is_what_was_accepted_until_the_pause_is_over() -> None:
    rate = LearnedRate()
    send(rate, 601, 0.0, 10.0)
    for _ in range(11):
        rate.refused(9.99, 10.0, 60.0)
    assert spacing(rate, 60.0) == pytest.approx(60 / 591, rel=0.01)


def test_one_burst_of_refusals_counts_once() -> None:
    rate = LearnedRate()
    send(rate, 100, 0.0, 10.0)
    for _ in range(90):
        rate.refused(9.9, 10.0, 60.0)
    assert spacing(rate, 60.0) == pytest.approx(60 / 98, rel=0.01)


def test_a_request_that_never_went_out_is_no_evidence() -> None:
    rate = LearnedRate()
    send(rate, 102, 0.0, 10.0)
    for _ in range(50):
        rate.withdraw(9.9)
    for _ in range(2):
        rate.refused(9.9, 10.0, 60.0)
    assert spacing(rate, 60.0) == pytest.approx(60 / 50, rel=0.01)


def test_it_grows_while_nothing_is_refused_so_that_a_lone_burst_is_soon_forgotten() -> None:
    rate = LearnedRate()
    send(rate, 60, 0.0, 30.0)
    for _ in range(20):
        rate.refused(29.99, 30.0, 31.0)
    now, sent = 31.0, 0
    while now < 31.0 + 300:
        now += rate.wait(now)
        rate.take(now)
        sent += 1
    assert rate.explains_refusals and spacing(rate, now + 1) < 0.1 * 60 / 116


@pytest.mark.parametrize("share", [20, 5])
def test_where_no_rate_makes_refusals_rarer_nothing_is_held_back_in_the_end(share: int) -> None:
    rate, now = LearnedRate(), 0.0
    for number in range(90_000):
        now += max(rate.wait(now), 0.02)
        rate.take(now)
        if number % share == 0:
            rate.refused(now, now, 0.0)
    assert spacing(rate, now + 1) < 0.002


@pytest.mark.parametrize("per_minute", [5e-324, 1e-310, 1e-300, 1e308])
def test_rates_at_the_ends_of_their_range_let_the_first_request_go_and_are_finite(per_minute: float) -> None:
    window = SlidingWindow(per_minute)
    assert window.wait(1, 0.0) == 0.0
    window.take(1, 0.0)
    assert math.isfinite(window.wait(1, 1.0))
    assert (window.wait(1, 1.0) > 1e9) == (per_minute < 1)


def test_a_rate_that_is_changed_counts_what_was_let_in_before() -> None:
    window = SlidingWindow(600)
    for _ in range(20):
        window.take(1, 0.0)
    window.set_rate(10, 1.0)
    assert window.wait(1, 1.0) > 50  # twenty within the last minute are more than ten
    window.set_rate(600, 2.0)
    assert window.wait(1, 2.0) < 1


def test_caps_that_are_changed_count_what_was_spent_and_is_reserved() -> None:
    budget = Budget(job_cap=Decimal(10), run_cap=None, spent=Decimal(4))
    budget.reserve(Decimal(2))
    budget.settle(Decimal(2), Decimal(1))
    budget.reserve(Decimal(3))
    budget.set_caps(job_cap=Decimal(9), run_cap=None)
    assert budget.allows(Decimal(1))
    assert not budget.allows(Decimal(2))
    budget.set_caps(job_cap=Decimal(9), run_cap=Decimal(4))
    assert not budget.allows(Decimal(1))
    assert "limits.max_run_cost_usd is $4, of which $1 is spent by this run" in budget.refusal(Decimal(1))
    budget.set_caps(job_cap=None, run_cap=None)
    assert budget.allows(Decimal(100))


def test_fewer_slots_hold_at_once_and_more_do_not_undo_a_cut() -> None:
    concurrency = AdaptiveConcurrency(8)
    concurrency.set_most(4)
    assert concurrency.limit == 4
    concurrency.set_most(16)
    assert concurrency.limit == 16
    concurrency.refused(0.0, 1.0)
    concurrency.refused(0.0, 1.0)
    cut = concurrency.limit
    assert cut < 16
    concurrency.set_most(32)
    assert concurrency.limit == cut


def test_time_in_which_a_run_is_held_does_not_count_towards_an_outage() -> None:
    outage = Outage(backoff=lambda attempt: 1.0, most_seconds=10)
    outage.failed(0.0, counts=True)
    assert outage.gives_up_at() == 10
    outage.hold(4.0)
    assert outage.gives_up_at() is None
    outage.go_on(100.0)
    assert outage.gives_up_at() == 106
