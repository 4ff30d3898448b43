"""Small pieces of text for people."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.addresses import is_loopback
from pipeline.cli.console import figure
from pipeline.cli.status import duration
from pipeline.limits import Budget
from pipeline.suggest import did_you_mean, nearest
from pipeline.surrogates import has_surrogate, well_formed
from pipeline.wording import lasting, listed, range_text, rounded_money


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (90.0, "90 s"), (1e12, "over 30 years"), (1e308, "over 30 years")]
)
def test_how_long_something_lasts_is_short_text_whatever_it_is(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_a_time_span_and_a_figure_beyond_all_measure_are_short_too() -> None:
    assert duration(1e308) == "over 30 years"
    assert figure(1.8000000000000002e302) == "1.8e+302"


@pytest.mark.parametrize(("cap", "text"), [("5.50", "$5.50,"), ("0.0000001", "$0.0000001,"), ("1e-300", "$1e-300,")])
def test_a_cap_is_told_as_a_number_that_can_be_read(cap: str, text: str) -> None:
    budget = Budget(job_cap=Decimal(cap), run_cap=None, spent=Decimal(0))
    assert f"limits.max_cost_usd is {text} of which $0 is spent" in budget.refusal(Decimal(1))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.0000"),
        ("0.00006", "0.0001"),
        ("0.00002394", "0.000024"),
        ("7E-7", "0.00000070"),
        ("1234.5", "1,234.5000"),
    ],
)
def test_a_rounded_amount_never_reads_as_nothing(amount: str, text: str) -> None:
    assert rounded_money(Decimal(amount), 4) == text


@pytest.mark.parametrize(
    ("minimum", "maximum", "text"),
    [
        (None, None, "a number"),
        (1, None, "a number of at least 1"),
        (None, 2000, "a number of at most 2,000"),
        (0, 1_000_000, "a number from 0 to 1,000,000"),
    ],
)
def test_a_range_is_told_by_the_bounds_it_has(minimum: int | None, maximum: int | None, text: str) -> None:
    assert range_text("a number", minimum, maximum) == text


@pytest.mark.parametrize(
    ("words", "text"), [(["a"], "`a`"), (["a", "b"], "`a` and `b`"), (["a", "b", "c"], "`a`, `b` and `c`")]
)
def test_words_are_listed_as_in_a_sentence(words: list[str], text: str) -> None:
    assert listed(words) == text


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("Questoin", ["answer", "question"], ["question"]),
        ("QUESTION", ["Question"], ["Question"]),
        ("zzz", ["question"], []),
        ("question", [], []),
        ("q" * 101, ["q" * 101], []),
        ("topic", ["topic_name", "topics", "topic"], ["topic", "topics", "topic_name"]),
    ],
)
def test_the_nearest_names_are_those_most_like_it_whatever_their_case(
    name: str, known: list[str], found: list[str]
) -> None:
    assert nearest(name, known, count=3) == found


def test_what_was_meant_is_asked_only_where_something_is_near() -> None:
    assert did_you_mean([]) is None
    assert did_you_mean(["`a`", "`b`"]) == "did you mean `a` or `b`?"


@pytest.mark.parametrize(
    ("host", "is_this_machine"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_known_by_name_and_by_address(host: str, is_this_machine: bool) -> None:
    assert is_loopback(host) is is_this_machine


@pytest.mark.parametrize(
    ("text", "formed"),
    [
        ("plain", "plain"),
        ("ü€😀", "ü€😀"),
        ("\ud83d\ude00", "😀"),
        ("a\ud83db", "a\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ufffd", "\ufffd"),
    ],
)
def test_lone_surrogates_are_replaced_and_pairs_joined(text: str, formed: str) -> None:
    assert well_formed(text) == formed
    assert has_surrogate(text) is (text != formed)
    assert not has_surrogate(formed)
