from __future__ import annotations

import decimal
from decimal import Decimal

import pytest

from pipeline.catalogue import (
    NO_EXCESS,
    Bounds,
    Excess,
    Price,
    as_column,
    built_in,
    cost,
    max_prompt_tokens,
    min_prompt_tokens,
    worst_cost,
)
from pipeline.config.models import ParametersConfig
from pipeline.providers import PROVIDERS, UNBOUNDED, ParameterRange
from pipeline.providers.dataoorts import PARAMETERS
from pipeline.records import Message, Request, Usage

RANGES = PROVIDERS["dataoorts"].ranges
SCOUT = Price(Decimal("0.32"), Decimal("0.34"), "2025-06-11")


def user(content: str) -> list[Message]:
    return [{"role": "user", "content": content}]


def request(content: str, max_tokens: int | None, model: str = "m") -> Request:
    return Request(model, tuple(user(content)), {} if max_tokens is None else {"max_tokens": max_tokens})


def bounds(content: str, max_tokens: int, model: str = "m") -> Bounds:
    return Bounds.of(request(content, max_tokens, model), None)


def test_the_twelve_published_models_have_a_dated_price_and_a_window() -> None:
    assert len(built_in().models) == 12
    assert all(model.priced_on == "2025-06-11" for model in built_in().models)
    assert all(model.context_window >= 4096 and model.input_usd_per_million > 0 for model in built_in().models)


@pytest.mark.parametrize(
    ("name", "prices", "window"),
    [
        ("meta/llama-4-scout-17b-16e-instruct", ("0.32", "0.34"), 130_000),
        ("meta/llama-guard-3-8b", ("0.12", "0.15"), 8_124),
        ("deepseek-ai/deepseek-math-7b-instruct", ("0.10", "0.11"), 4_096),
        ("openai/gpt-oss-120b", ("0.30", "0.45"), 128_000),
    ],
)
def test_a_model_is_found_by_its_exact_name(name: str, prices: tuple[str, str], window: int) -> None:
    model = built_in().find(name)
    assert model is not None and model.name in built_in().names
    assert (model.input_usd_per_million, model.output_usd_per_million) == tuple(map(Decimal, prices))
    assert model.context_window == window


def test_an_unknown_model_is_none() -> None:
    assert built_in().find("META/llama-4-scout-17b-16e-instruct") is None


def test_only_documented_parameters_belong_to_a_model() -> None:
    guard, scout = built_in().find("meta/llama-guard-3-8b"), built_in().find("meta/llama-4-scout-17b-16e-instruct")
    assert guard is not None and set(RANGES(guard)) == {"temperature", "max_tokens"}
    assert scout is not None and dict(RANGES(scout)) == dict(PARAMETERS)
    assert RANGES(scout)["seed"] == ParameterRange(1, 9_999_999_999, integer=True)


def test_every_parameter_of_the_job_file_has_a_range_for_each_kind_of_endpoint() -> None:
    assert set(UNBOUNDED) == set(ParametersConfig.model_fields)
    assert set(UNBOUNDED) - set(PARAMETERS) == {"min_p", "stop", "reasoning_effort"}


def test_cost_is_exact_and_rounded_half_even_only_for_its_column() -> None:
    assert cost(SCOUT, Usage(30, 759)) == Decimal("0.00026766")
    fine = Price(Decimal("0.0000005"), Decimal(0), None)
    exact = [cost(fine, Usage(tokens, 1)) for tokens in (1, 3)]
    assert exact == [Decimal("5e-13"), Decimal("15e-13")]
    assert [str(as_column(amount or Decimal(0))) for amount in exact] == ["0E-12", "2E-12"]


def test_what_was_generated_beside_the_completion_costs_the_same() -> None:
    assert cost(SCOUT, Usage(30, 59, 789)) == cost(SCOUT, Usage(30, 759, 789))


def test_cost_does_not_depend_on_the_context_of_the_thread() -> None:
    with decimal.localcontext(prec=2):
        assert cost(SCOUT, Usage(123_456_789, 987_654_321)) == Decimal("375.308641620000")


@pytest.mark.parametrize("usage", [Usage(), Usage(30, None), Usage(None, 5, 35)])
def test_an_unsound_usage_has_no_cost(usage: Usage) -> None:
    assert cost(SCOUT, usage) is None


def test_without_a_price_nothing_has_a_cost() -> None:
    assert cost(None, Usage(1, 1)) is None
    assert worst_cost(None, bounds("a", 1)) is None


@pytest.mark.parametrize("price", ["1000000000000", "1E+400", "0." + "3" * 300])
def test_a_cost_that_does_not_fit_its_column_is_none(price: str) -> None:
    assert cost(Price(Decimal(price), Decimal(0), None), Usage(1, 1)) is None


def test_a_free_model_costs_zero() -> None:
    assert cost(Price(Decimal(0), Decimal(0), None), Usage(2**63 - 1, 5)) == 0


@pytest.mark.parametrize("text", ["", "plain words", "Grüße 漢字 🙂", "\ud800", "\x00" * 50])
def test_no_text_can_be_more_tokens_than_the_upper_bound(text: str) -> None:
    assert max_prompt_tokens(user(text)) >= len(text.encode("utf-8", "surrogatepass"))


def test_the_chat_template_is_allowed_for_with_each_message() -> None:
    assert max_prompt_tokens(user("")) == 32 + 64
    assert max_prompt_tokens(user("") * 3) == 3 * 32 + 64


def test_an_image_counts_at_least_its_json_and_what_an_image_can_be() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    bound = max_prompt_tokens([{"role": "user", "content": [{"type": "text", "text": "look"}, image]}])
    assert bound > 5000 + 17 * 144


def test_a_model_with_instructions_of_its_own_is_allowed_more() -> None:
    guard = "meta/llama-guard-3-8b"
    assert max_prompt_tokens(user(""), guard) >= 195 + 10 + max_prompt_tokens(user("")) - 64
    assert bounds("hi", 1, guard).prompt_tokens > bounds("hi", 1).prompt_tokens


def test_the_lower_bound_is_what_the_longest_tokens_would_make() -> None:
    assert min_prompt_tokens(user("")) == 0
    assert min_prompt_tokens(user("=" * 128_000)) == 1_000
    assert min_prompt_tokens(user("ab" * 65)) == 2
    # One token of Llama 3's vocabulary, 42 bytes long, again and again.
    assert min_prompt_tokens(user(".translatesAutoresizingMaskIntoConstraints" * 3_300)) <= 3_300


def test_blanks_that_a_chat_template_cuts_off_are_no_tokens() -> None:
    assert min_prompt_tokens(user("\n" * 100_000 + "word" + " " * 100_000)) == 1


def test_the_bounds_do_not_cross() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 40
    assert 0 < min_prompt_tokens(user(text)) < len(text) / 4 < max_prompt_tokens(user(text))


def test_the_worst_case_takes_max_tokens_or_else_the_window() -> None:
    prompt = (64 + 32 + 2) * Decimal("0.32")
    asked, open_ended = request("hi", 100), request("hi", None)
    assert worst_cost(SCOUT, Bounds.of(asked, 130_000)) == (prompt + 100 * Decimal("0.34")) / 10**6
    assert worst_cost(SCOUT, Bounds.of(open_ended, 130_000)) == (prompt + 130_000 * Decimal("0.34")) / 10**6
    assert worst_cost(SCOUT, Bounds.of(open_ended, None)) is None


def test_what_was_billed_beyond_the_bounds_is_the_excess() -> None:
    tools = Request("m", tuple(user("hi")), {"max_tokens": 10}, {"tools": ["a" * 100]})
    most = 64 + 32 + 2 + len('{"tools":[""]}') + 100
    assert Bounds.of(tools, None) == Bounds(most, 10)
    assert Bounds.of(tools, None).excess(Usage(most, 10, most + 10)) == NO_EXCESS
    assert Bounds.of(tools, None).excess(Usage(most + 5, 9, most + 14)) == Excess(5, 0)
    assert Bounds.of(tools, None).excess(Usage(most, 12, most + 12)) == Excess(0, 2)
    assert Bounds(most, None).excess(Usage(None, 12)) == NO_EXCESS


def test_a_worst_case_beyond_the_column_is_still_known() -> None:
    worst = worst_cost(SCOUT, bounds("hi", 10**15))
    assert worst is not None and worst > 10**6
