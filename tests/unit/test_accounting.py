from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.catalogue import Price
from pipeline.client import Attempt
from pipeline.errors import ErrorKind
from pipeline.journal import Outcome
from pipeline.records import Failure, Reply, Usage
from pipeline.runner.accounting import Charge, charge_of, record_of, truncated
from pipeline.runner.feed import History

PRICE = Price(Decimal("0.32"), Decimal("0.34"), None)
WORST = Decimal("0.5")
SOUND = Usage(100, 10, 110, "{}")
COST = (100 * Decimal("0.32") + 10 * Decimal("0.34")) / 10**6


def reply(usage: Usage, finish_reason: str | None = None) -> Reply:
    return Reply("yes", "text", None, usage, finish_reason)


def test_a_sound_usage_is_billed_exactly() -> None:
    assert charge_of(reply(SOUND), PRICE, WORST, 999).known == COST


@pytest.mark.parametrize("usage", [Usage(None, 10, 10), Usage(100, None, 100), Usage()])
def test_an_answer_without_sound_usage_is_billed_at_most_its_worst(usage: Usage) -> None:
    found = charge_of(reply(usage), PRICE, WORST, 999)
    assert (found.known, found.at_most) == (None, WORST)


def test_a_total_that_is_not_sound_does_not_matter_for_the_cost() -> None:
    assert charge_of(reply(Usage(100, 10, None)), PRICE, WORST, 999).known == COST


def test_a_refusal_costs_nothing_and_a_lost_reply_its_worst() -> None:
    assert charge_of(Failure(ErrorKind.SERVER_ERROR, "no"), PRICE, WORST, 999).at_most is None
    assert charge_of(Failure(ErrorKind.TIMEOUT, "no", possibly_billed=True), PRICE, WORST, 999).at_most == WORST


def test_a_useless_reply_with_usage_is_billed_by_it() -> None:
    found = charge_of(Failure(ErrorKind.INVALID_REPLY, "no", usage=SOUND, possibly_billed=True), PRICE, WORST, 999)
    assert (found.known, found.at_most) == (COST, None)


def test_the_records_cost_is_that_of_all_billed_attempts() -> None:
    attempt = Attempt(1, reply(SOUND), 1.0, 2.0, 1.0)
    record = record_of(
        attempt, reply(SOUND), 10, History(2, Decimal("0.1"), 1), charge_of(reply(SOUND), PRICE, WORST, 999), PRICE
    )
    assert record.cost_usd == Decimal("0.1") + COST
    assert record.attempts == 3
    assert record.truncated is True


def test_each_fact_of_an_answer_stands_under_its_own_name() -> None:
    result = Reply("yes", "text", "[]", Usage(100, 10, 113, "{}", 40, 3), "stop", "because", "served", 201)
    charge = Charge(Decimal(1), Decimal(2), 110, in_doubt=True)
    found = record_of(
        Attempt(1, result, 5.0, 7.5, 2.0, reply="{...}"), result, 99, History(2, Decimal(3), 1), charge, PRICE
    )
    assert found == Outcome(
        response="yes",
        response_type="text",
        tool_calls="[]",
        prompt_tokens=100,
        completion_tokens=10,
        total_tokens=113,
        cost=Decimal(4),
        truncated=False,
        finish_reason="stop",
        reasoning="because",
        cached_tokens=40,
        reasoning_tokens=3,
        attempts=3,
        http_status=201,
        served_model="served",
        latency_seconds=2.0,
        started_at=5.0,
        finished_at=7.5,
        usage="{}",
        tokens=110,
        billed_usd=Decimal(1),
        possibly_billed=Decimal(2),
        in_doubt=True,
        price=("0.32", "0.34", None, None),
        failed_runs=1,
        raw_reply="{...}",
    )


def test_an_answer_of_unknown_cost_has_no_cost_whatever_was_billed_before() -> None:
    attempt = Attempt(1, reply(Usage()), 1.0, 2.0, 1.0)
    record = record_of(
        attempt,
        reply(Usage()),
        None,
        History(1, Decimal("0.1"), 0),
        charge_of(reply(Usage()), PRICE, WORST, 999),
        PRICE,
    )
    assert record.cost_usd is None


def test_a_rows_cost_is_rounded_once_over_all_its_attempts() -> None:
    price = Price(Decimal("0.0000004"), Decimal(0), None)
    history = History()
    for attempts in range(1, 6):
        result = (
            reply(Usage(1, 1, 2)) if attempts == 5 else Failure(ErrorKind.INVALID_REPLY, "no", usage=Usage(1, 1, 2))
        )
        attempt = Attempt(1, result, 1.0, 2.0, 1.0)
        record = record_of(attempt, result, None, history, charge_of(result, price, WORST, 999), price)
        assert record.billed_usd == Decimal("4E-13")
        history = History.of(record)
    assert (record.cost_usd, history.cost) == (Decimal("2e-12"), Decimal("2e-12"))
    assert History(5, Decimal("4e-13"), 0).outcome().cost_usd == 0


def test_a_rows_cost_beyond_its_column_is_unknown_and_goes_on_to_be_counted() -> None:
    history = History(1, Decimal("999999.9"), 0)
    price = Price(Decimal(10_000_000), Decimal(0), None)
    result = reply(SOUND)
    attempt = Attempt(1, result, 1.0, 2.0, 1.0)
    record = record_of(attempt, result, None, history, charge_of(result, price, WORST, 999), price)
    assert (record.cost_usd, History.of(record).cost) == (None, Decimal("1000999.9"))


def test_the_bill_counts_what_was_generated_beside_the_completion() -> None:
    assert charge_of(reply(Usage(100, 10, 120)), PRICE, WORST, 999).tokens == 120


@pytest.mark.parametrize(
    ("result", "price", "in_doubt"),
    [
        (reply(SOUND), PRICE, False),
        (reply(SOUND), None, False),
        (reply(Usage()), PRICE, True),
        (reply(Usage()), None, True),
        (Failure(ErrorKind.TIMEOUT, "no", possibly_billed=True), None, True),
        (Failure(ErrorKind.SERVER_ERROR, "no"), PRICE, False),
    ],
)
def test_a_request_is_in_doubt_where_nothing_says_what_was_billed(
    result: Reply | Failure, price: Price | None, in_doubt: bool
) -> None:
    assert charge_of(result, price, None, 999).in_doubt is in_doubt


def test_a_failure_that_was_not_sent_is_no_attempt() -> None:
    failure = Failure(ErrorKind.CONNECTION_ERROR, "refused", sent=False)
    attempt = Attempt(1, failure, 1.0, 1.0, 0.0)
    record = record_of(attempt, failure, None, History(), charge_of(failure, PRICE, WORST, 999), PRICE)
    assert record.attempts == 0


@pytest.mark.parametrize(
    ("usage", "finish_reason", "max_tokens", "expected"),
    [
        (SOUND, None, 10, True),
        (SOUND, None, 11, False),
        (SOUND, "stop", 10, True),
        (SOUND, "MAX_TOKENS", 99, True),
        (SOUND, "stop", None, False),
        (Usage(100, 10, 115), "stop", 15, True),
        (Usage(100, 10, 115), None, 16, False),
        (Usage(), "stop", 10, False),
        (SOUND, "length", 99, True),
        (SOUND, None, None, False),
        (Usage(), None, 10, None),
    ],
)
def test_truncated(usage: Usage, finish_reason: str | None, max_tokens: int | None, expected: bool | None) -> None:
    assert truncated(reply(usage, finish_reason), max_tokens) is expected
