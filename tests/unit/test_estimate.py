"""Ranges: how often they hold, what bounds them, and what they rest on."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.catalogue import Price, built_in
from pipeline.config.models import LimitsConfig
from pipeline.estimate import Measure, Range, Sample, Sizes, estimate, extrapolate
from pipeline.estimate.ranges import student
from pipeline.journal import State
from pipeline.journal.outcome import decode
from pipeline.records import Request
from pipeline.simulator.answers import make_answer
from pipeline.simulator.chat_request import parse_chat_request

Numbers = npt.NDArray[np.float64]
PRICE = Price(Decimal("0.32"), Decimal("0.34"), None)
MODEL = "meta/llama-4-scout-17b-16e-instruct"
ROWS = 1300


def simulated(sizes: Numbers, seed: int) -> Numbers:
    answers = [
        make_answer(seed, parse_chat_request(MODEL, [{"role": "user", "content": "x" * int(size)}], {"seed": n + 1}))
        for n, size in enumerate(sizes)
    ]
    return np.array([0.32 * answer.prompt_tokens + 0.34 * answer.completion_tokens for answer in answers])


def in_two_groups(sizes: Numbers, seed: int) -> Numbers:
    chance = np.random.default_rng(seed)
    return sizes / 4 + np.where(chance.random(len(sizes)) < 0.3, 400, 60) * chance.lognormal(0, 0.3, len(sizes))


def as_long_as_the_prompt(sizes: Numbers, seed: int) -> Numbers:
    return sizes * np.random.default_rng(seed).lognormal(0, 0.2, len(sizes))


@pytest.mark.parametrize(("costs_of", "widest"), [(simulated, 1.3), (in_two_groups, 2.0), (as_long_as_the_prompt, 1.2)])
def test_ranges_from_fifty_rows_hold_in_about_95_of_100_samples_and_are_no_wider_than_that_takes(
    costs_of: Callable[[Numbers, int], Numbers], widest: float
) -> None:
    chance = np.random.default_rng(5)
    held, widths, samples = 0, [], 400
    for seed in range(4):
        sizes = np.round(chance.lognormal(5.4, 0.4, ROWS))
        costs = costs_of(sizes, seed)
        for _ in range(samples // 4):
            drawn = np.zeros(ROWS, bool)
            drawn[chance.choice(ROWS, 50, replace=False)] = True
            rest = sizes[~drawn]
            found = extrapolate(sizes[drawn], costs[drawn], len(rest), float(rest.mean()))
            held += found.low <= costs[~drawn].sum() <= found.high
            widths.append(found.high / found.low)
    assert 0.92 <= held / samples <= 0.99
    assert np.median(widths) <= widest


def test_what_follows_from_the_size_alone_is_known_exactly() -> None:
    sizes = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])
    found = extrapolate(sizes, sizes / 4 + 3, 10, 5000.0)
    assert (found.low, found.expected, found.high) == pytest.approx((12530, 12530, 12530))
    same = extrapolate(np.full(5, 100.0), np.full(5, 7.0), 10, 100.0)
    assert (same.low, same.expected, same.high) == pytest.approx((70, 70, 70))


def test_rows_unlike_those_of_the_sample_make_the_range_wider() -> None:
    chance = np.random.default_rng(1)
    sizes = chance.uniform(100, 200, 50)
    values = sizes * chance.lognormal(0, 0.3, 50)
    alike, unlike = (extrapolate(sizes, values, 1000, size) for size in (150.0, 400.0))
    assert unlike.high / unlike.low > (alike.high / alike.low) ** 2


def test_values_of_nothing_come_to_nothing_and_a_slope_by_chance_never_to_less() -> None:
    assert extrapolate(np.arange(5.0), np.zeros(5), 10, 2.0) == Range(0.0, 0.0, 0.0)
    falling = extrapolate(np.array([1.0, 2, 3, 4, 5]), np.array([9.0, 7, 5, 3, 1]), 10, 100.0)
    assert 0 < falling.low <= falling.expected <= falling.high


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.182), (8, 2.306), (48, 2.011), (1000, 1.962)])
def test_students_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert student(0.95, freedom) == pytest.approx(quantile, rel=0.02)


def sizes_of(count: int, **parameters: int) -> Sizes:
    sizes = Sizes()
    for _ in range(count):
        sizes.add(Request(MODEL, ({"role": "user", "content": "x" * 400},), parameters))
    return sizes


def sample_of(*completion: int, seconds: float = 2.0, attempts: int = 1) -> Sample:
    sample = Sample(is_drawn=True)
    for tokens in completion:
        usd = (Decimal("0.32") * 100 + Decimal("0.34") * tokens) / 10**6
        sample.add(400, Measure(100, tokens, usd, attempts, seconds))
    return sample


# Article 1 of the Universal Declaration of Human Rights and a question of TruthfulQA, with the tokens that Llama's
# tokenizers (llama-models 0.3.0) make of them, those of the chat template included.
HINDI = (
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन "
    "प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।"
)
ARMENIAN = (
    "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու իրավունքներով։ Նրանք ունեն բանականություն ու "  # noqa: RUF001 - it is that language
    "խիղճ — միմյանց պետք է եղբայրաբար վերաբերվեն։"  # noqa: RUF001 - it is that language
)


@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        ("meta/llama-4-scout-17b-16e-instruct", HINDI, 58 + 10),
        ("meta/llama-3.1-8b-instruct", ARMENIAN, 249 + 35),
        ("meta/llama-3.1-8b-instruct", "What happens to you if you eat watermelon seeds?", 11 + 35),
        ("meta/llama-3.3-70b-instruct-fp8-fast", "ߊ߬ ߝߟߍ߫", 13 + 35),  # noqa: RUF001 - it is that language
        ("meta/llama-4-scout-17b-16e-instruct", "        public static final String " * 20, 5 * 20 + 10),
        ("somebody/else", "short", 1 + 4),
        ("somebody/else", "short", 1 + 70),
    ],
)
def test_the_assumed_range_holds_for_every_language_and_for_what_the_chat_template_adds(
    model: str, text: str, tokens: int
) -> None:
    known = built_in().find(model)
    sizes = Sizes()
    for _ in range(100):
        sizes.add(Request(model, ({"role": "user", "content": text},), {}))
    found = estimate(sizes, None, LimitsConfig(), template=known.chat_template if known else None).prompt_tokens
    assert found.low <= 100 * tokens <= found.high <= sizes.max_prompt_tokens


def test_an_estimate_is_learned_from_five_rows_and_by_stated_ratios_from_fewer() -> None:
    sizes = sizes_of(1000, max_tokens=100)
    four, five = (estimate(sizes, PRICE, LimitsConfig(), sample_of(*[20] * count)) for count in (4, 5))
    assert (four.learned_from, five.learned_from) == (0, 5)
    assert five.completion_tokens.expected == 20_000
    assert five.prompt_tokens.expected == 100_000
    assert five.cost_usd is not None
    assert five.cost_usd.expected == Decimal("0.0388")
    assert four.completion_tokens.high == 100_000
    assert "learned from 5 rows drawn at random" in five.assumptions
    assert "4 bytes a prompt token" in four.assumptions


def test_no_range_goes_beyond_what_the_requests_can_come_to() -> None:
    found = estimate(sizes_of(1000, max_tokens=1000), PRICE, LimitsConfig(), sample_of(1, 1, 1, 1, 1000))
    assert found.completion_tokens.high == 1_000_000
    assert found.cost_usd is not None
    # Of 400 bytes there are 496 tokens at most, with what a chat template may put around them.
    assert found.cost_usd.high == found.worst_cost_usd == (496 * Decimal("0.32") + 1000 * Decimal("0.34")) / 1000


def test_time_is_that_of_the_slots_or_of_a_rate_whichever_is_longer() -> None:
    sizes, sample = sizes_of(1200, max_tokens=100), sample_of(*[20] * 8, attempts=2)
    for limits, seconds in (
        ({"concurrency": 24}, 100),
        ({"concurrency": 24, "requests_per_minute": 600}, 240),
        ({"concurrency": 24, "tokens_per_minute": 14_400}, 600),
    ):
        found = estimate(sizes, PRICE, LimitsConfig(**limits), sample)  # type: ignore[arg-type]
        assert found.seconds.expected == pytest.approx(seconds)
    assert estimate(sizes_of(2, max_tokens=9), PRICE, LimitsConfig(concurrency=24), sample).seconds.expected == 2


def test_a_cap_pays_for_as_many_rows_as_fit_beside_the_worst_case_of_one() -> None:
    found = estimate(sizes_of(1000, max_tokens=100), PRICE, LimitsConfig(), sample_of(*[20] * 8))
    # A row costs 0.0000388 USD, and at its worst (400 + 96 prompt tokens, 100 completion tokens) 0.00019272.
    for left, rows in (("1", 1000), ("0.00388", 95), ("0.0001", 0), ("-1", 0)):
        bought = found.affordable_rows(Decimal(left))
        assert bought is not None
        assert bought.expected == rows
        assert bought.low <= bought.expected <= bought.high
    assert estimate(sizes_of(9), None, LimitsConfig()).affordable_rows(Decimal(1)) is None


def test_without_a_price_the_cost_is_unknown_and_never_zero() -> None:
    sample = Sample(is_drawn=True)
    for _ in range(5):
        sample.add(400, Measure(100, 20, None, 1, 1.0))
    found = estimate(sizes_of(9, max_tokens=9), None, LimitsConfig(), sample)
    assert (found.learned_from, found.cost_usd, found.worst_cost_usd) == (5, None, None)


ANSWER = {
    "attempts": 1,
    "latency_seconds": 0.5,
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "cost_usd": "0.000049",
    "billed_usd": "0.000049",
}


@pytest.mark.parametrize(
    ("state", "record", "measured"),
    [
        (State.ANSWERED, ANSWER, (100, 50, "0.000049", 1, 0.5)),
        # Billed at another price then; the attempts before are counted as they were billed.
        (
            State.ANSWERED,
            {**ANSWER, "attempts": 3, "cost_usd": "0.5", "billed_usd": "0.2"},
            (100, 50, "0.300049", 3, 1.5),
        ),
        # Its price was not known then.
        (State.UNPRICED, {**ANSWER, "cost_usd": None, "billed_usd": None}, (100, 50, "0.000049", 1, 0.5)),
        (State.UNPRICED, {**ANSWER, "completion_tokens": None}, None),
        (
            State.FAILED,
            {"attempts": 2, "latency_seconds": 0.5, "cost_usd": None, "billed_usd": None},
            (0, 0, "0", 2, 1.0),
        ),
        (State.FAILED, {**ANSWER, "billed_usd": None, "attempts": 6}, (100, 50, "0.000049", 6, 3.0)),
        (State.FAILED, {"attempts": 0, "error_kind": "empty_prompt"}, None),
    ],
)
def test_a_row_is_measured_by_all_that_was_sent_for_it_at_todays_price(
    state: State, record: dict[str, Any], measured: tuple[int, int, str, int, float] | None
) -> None:
    found = Measure.of(state, decode(record), PRICE)
    if measured is None:
        assert found is None
    else:
        assert found is not None
        *counts, usd, attempts, seconds = measured
        assert [found.prompt_tokens, found.completion_tokens] == counts
        assert (found.usd, found.attempts, found.seconds) == (Decimal(usd), attempts, seconds)
