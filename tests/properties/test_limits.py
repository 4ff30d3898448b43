"""The rates hold over any minute, whatever is sent and whatever it comes to; who waits as told is let in."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalogue import Price, Terms, max_prompt_tokens
from pipeline.config.models import LimitsConfig
from pipeline.limits import Budget, Entry, SlidingWindow
from pipeline.records import Request
from pipeline.runner.accounting import Charge
from pipeline.runner.admission import Admission, OverBudget, Reservation

START = 1000.0
ROUNDING = 1e-5
PRICE = Price(Decimal("0.32"), Decimal("0.34"), None)

rates = st.floats(0.2, 500.0)
seconds = st.floats(0.0, 30.0)


@dataclass
class Sent:
    """An amount as the endpoint would count it."""

    at: float
    amount: float


def most_over(minute: float, sent: list[Sent]) -> float:
    """The most that was sent within any `minute` seconds."""
    return max(
        (sum(one.amount for one in sent if first.at <= one.at < first.at + minute - ROUNDING) for first in sent),
        default=0.0,
    )


@dataclass
class Step:
    """Wait as told and a little more, take, and some steps later settle: at which share, and how late it was sent."""

    amount: float
    idle: float
    share: float
    late: float
    settled_after: int


steps = st.lists(
    st.builds(
        Step,
        amount=st.floats(0.0, 700.0),
        idle=st.one_of(st.just(0.0), seconds),
        share=st.floats(0.0, 1.0),
        late=st.floats(0.0, 20.0),
        settled_after=st.integers(0, 5),
    ),
    max_size=40,
)


def play(window: SlidingWindow, steps: list[Step]) -> list[Sent]:
    """Let the steps follow one another; what was sent in the end, and when."""
    now = START
    sent: list[Sent] = []
    open_entries: list[tuple[int, Entry, Sent, Step]] = []
    for number, step in enumerate(steps):
        for due in [one for one in open_entries if one[0] <= number]:
            open_entries.remove(due)
            _, entry, mine, planned = due
            # It was sent later than it was let in, which shows as long as it counts.
            mine.at = min(mine.at + planned.late, now) if entry.counts else mine.at
            mine.amount = min(mine.amount * planned.share, window.capacity)
            window.settle(entry, mine.amount, mine.at)
        now += step.idle
        wait = window.wait(step.amount, now)
        now += wait
        assert window.wait(step.amount, now) == 0.0, "who waits as told is let in"
        mine = Sent(now, min(step.amount, window.capacity))
        sent.append(mine)
        open_entries.append((number + step.settled_after, window.take(step.amount, now), mine, step))
    return sent


@given(rates, steps)
def test_no_minute_has_more_than_the_rate(rate: float, steps: list[Step]) -> None:
    window = SlidingWindow(rate)
    sent = play(window, steps)
    assert most_over(60.0 * max(1.0, 1 / rate), sent) <= max(1.0, rate) + ROUNDING


@given(rates, steps)
def test_what_turns_out_larger_is_made_up_for_before_anything_more_is_sent(rate: float, steps: list[Step]) -> None:
    window = SlidingWindow(rate)
    now = START
    known: list[Sent] = []
    for step in steps:
        now += step.idle
        now += window.wait(step.amount, now)
        mine = Sent(now, min(step.amount, window.capacity))
        before = sum(one.amount for one in known if one.at > now - 60.0 * max(1.0, 1 / rate))
        assert before + mine.amount <= window.capacity + ROUNDING
        entry = window.take(step.amount, now)
        known.append(mine)
        mine.amount = min(mine.amount * step.share * 4, window.capacity)
        window.settle(entry, mine.amount)


@given(rates, st.lists(st.tuples(st.floats(0.0, 90.0), st.floats(0.0, 300.0)), max_size=20), st.floats(0.0, 700.0))
def test_what_earlier_runs_sent_counts(rate: float, earlier: list[tuple[float, float]], amount: float) -> None:
    window = SlidingWindow(rate)
    minute = 60.0 * max(1.0, 1 / rate)
    for age, tokens in sorted(earlier, reverse=True):
        window.remember(tokens, age, START)
    now = START + window.wait(amount, START)
    counted = sum(min(tokens, window.capacity) for age, tokens in earlier if START - age > now - minute)
    assert counted + min(amount, window.capacity) <= max(window.capacity, counted) + ROUNDING
    assert counted <= window.capacity - min(amount, window.capacity) + ROUNDING or counted == 0 or amount == 0
    assert now <= START + minute + 1


@given(rates, st.floats(1.0, 10_000.0))
def test_no_amount_waits_longer_than_a_window(rate: float, times: float) -> None:
    window = SlidingWindow(rate)
    amount = window.capacity * times
    assert window.wait(amount, START) == 0.0
    window.take(amount, START)
    assert 0 < window.wait(amount, START) <= 60.0 * max(1.0, 1 / rate) + 1


@pytest.mark.parametrize("rate", [0.5, 1.0, 7.0, 100.0, 1500.0])
def test_a_rate_is_used_to_nearly_all_of_it(rate: float) -> None:
    window = SlidingWindow(rate)
    now, taken = START, 0
    while now < START + 1200:
        now += window.wait(1, now)
        window.take(1, now)
        taken += 1
    assert taken >= 0.98 * rate * 20


def test_tokens_that_were_reserved_and_not_used_are_free_again_at_once() -> None:
    window = SlidingWindow(1000)
    entry = window.take(1000, START)
    assert window.wait(900, START) > 30
    window.settle(entry, 50)
    assert window.wait(900, START + 3.1) == 0.0


# ---- requests, tokens and money together


def request(prompt: str, max_tokens: int) -> Request:
    return Request("m", ({"role": "user", "content": prompt},), {"max_tokens": max_tokens})


@dataclass
class Asking:
    """A request, how it ends and after how many others: its share of the worst case, unsent, or its bill unknown."""

    max_tokens: int
    ends_after: int
    share: float
    end: str


askings = st.lists(
    st.builds(
        Asking,
        max_tokens=st.integers(1, 2000),
        ends_after=st.integers(0, 8),
        share=st.floats(0.0, 1.0),
        end=st.sampled_from(["billed", "unsent", "possibly", "nothing"]),
    ),
    max_size=40,
)


@given(askings, st.floats(0.5, 100.0), st.floats(100.0, 5000.0), st.decimals("0.0001", "0.02", places=6), st.booleans())
def test_rates_and_caps_hold_together_whatever_requests_come_to(
    askings: list[Asking], per_minute: float, tokens_per_minute: float, cap: Decimal, is_job_cap: bool
) -> None:
    spent = Decimal("0.00005")
    limits = LimitsConfig(
        requests_per_minute=per_minute,
        tokens_per_minute=tokens_per_minute,
        max_cost_usd=cap if is_job_cap else None,
        max_run_cost_usd=None if is_job_cap else cap,
    )
    admission = Admission(limits, terms={"m": Terms(PRICE)}, spent=spent)
    now, cost = START, spent if is_job_cap else Decimal(0)
    requests: list[Sent] = []
    tokens: list[Sent] = []
    under_way: list[tuple[int, Reservation, Asking, Sent, Sent]] = []
    for number, asking in enumerate(askings):
        for due in [one for one in under_way if one[0] <= number]:
            under_way.remove(due)
            _, reserved, planned, counted, used = due
            assert reserved.worst is not None
            billed = (reserved.worst * Decimal(planned.share)).quantize(Decimal("1e-12"))
            if planned.end == "unsent":
                counted.amount = used.amount = 0.0
                admission.withdraw(reserved)
            elif planned.end == "possibly":
                cost += reserved.worst
                admission.settle(reserved, Charge(None, reserved.worst, reserved.most_tokens), now)
            elif planned.end == "billed":
                cost += billed
                used.amount = int(used.amount * planned.share)
                admission.settle(reserved, Charge(billed, None, int(used.amount)), counted.at)
            else:
                used.amount = 0.0
                admission.settle(reserved, Charge(), counted.at)
        worst = sum((one[1].worst or Decimal(0) for one in under_way), Decimal(0))
        assert cost + worst <= max(cap, spent), "what is in flight is reserved"
        try:
            found = admission.reserve(request("a question", asking.max_tokens), now)
            if not isinstance(found, Reservation):
                # One that is let in counts at the latest moment at which it can have gone out, two seconds later.
                assert found <= 60.0 * max(1.0, 1 / per_minute) + 3
                now += found
                found = admission.reserve(request("a question", asking.max_tokens), now)
            assert isinstance(found, Reservation), "who waits as told is let in"
        except OverBudget:
            continue
        reserved = found
        assert reserved.most_tokens == max_prompt_tokens(request("a question", 1).messages) + asking.max_tokens
        capacity = max(1, int(tokens_per_minute))
        sent, used = Sent(now, 1), Sent(now, min(reserved.most_tokens, capacity))
        requests.append(sent)
        tokens.append(used)
        under_way.append((number + asking.ends_after, reserved, asking, sent, used))
    assert most_over(60.0 * max(1.0, 1 / per_minute), requests) <= max(1.0, per_minute) + ROUNDING
    assert most_over(60.0, tokens) <= max(1.0, tokens_per_minute) + ROUNDING


@given(st.lists(st.tuples(st.decimals("0", "2", places=6), st.floats(0.0, 1.0)), max_size=40), st.integers(0, 5))
def test_a_cap_is_never_exceeded_by_what_was_spent_and_what_is_in_flight(
    requests: list[tuple[Decimal, float]], held: int
) -> None:
    budget = Budget(job_cap=Decimal(5), run_cap=Decimal(4), spent=Decimal(2))
    spent = Decimal(0)
    in_flight: list[tuple[Decimal, Decimal]] = []
    for worst, share in requests:
        allowed = budget.allows(worst)
        assert allowed == (spent + sum((one[0] for one in in_flight), Decimal(0)) + worst <= 3)
        if allowed:
            budget.reserve(worst)
            in_flight.append((worst, (worst * Decimal(share)).quantize(Decimal("1e-12"))))
        if len(in_flight) > held:
            reserved, billed = in_flight.pop(0)
            budget.settle(reserved, billed)
            spent += billed
    assert spent + sum((one[0] for one in in_flight), Decimal(0)) <= 3
