"""Prices from the installed price list: found by name, dated, or refused with the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from types import SimpleNamespace

import pytest
from genai_prices import types

from pipeline.catalogue import NotListed, list_version, listed_models, listed_price, price_list

TODAY = date(2026, 6, 1)
PLAIN = types.ModelPrice(input_mtok=Decimal("0.15"), cache_read_mtok=Decimal("0.075"), output_mtok=Decimal("0.6"))
NEW, OLD = (types.ModelPrice(input_mtok=Decimal(n), output_mtok=Decimal(n)) for n in (2, 1))
TIERED = types.TieredPrices(base=Decimal(1), tiers=[types.Tier(start=200_000, price=Decimal(2))])


def model(
    name: str, prices: types.ModelPrice | list[types.ConditionalPrice], match: types.MatchLogic | None = None
) -> types.ModelInfo:
    return types.ModelInfo(id=name, match=types.ClauseEquals(equals=name) if match is None else match, prices=prices)


def dated(*days: date) -> list[types.ConditionalPrice]:
    first = types.ConditionalPrice(prices=OLD)
    return [first, *(types.ConditionalPrice(types.StartDateConstraint(start_date=day), prices=NEW) for day in days)]


MODELS = [
    model("plain", PLAIN),
    model(
        "family",
        PLAIN,
        match=types.ClauseOr(or_=[types.ClauseEquals(equals="family-2024"), types.ClauseStartsWith(starts_with="fam")]),
    ),
    model("raised", dated(date(2026, 5, 1))),
    model("to-be-raised", dated(date(2026, 7, 1))),
    model("by-length", types.ModelPrice(input_mtok=TIERED, output_mtok=Decimal(1))),
    model("cached-by-length", types.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), cache_read_mtok=TIERED)),
    model("by-the-hour", types.ModelPrice(audio_hours=Decimal(1))),
    model("by-request", types.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5))),
    model(
        "at-night",
        [
            types.ConditionalPrice(prices=OLD),
            types.ConditionalPrice(types.TimeOfDateConstraint(start_time=time(0), end_time=time(6)), prices=NEW),
        ],
    ),
]


@pytest.fixture(autouse=True)
def a_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    maker = types.Provider(id="maker", name="Maker", api_pattern="", models=MODELS)
    monkeypatch.setitem(sys.modules, "genai_prices.data", SimpleNamespace(providers=[maker]))
    for cached in (price_list._providers, price_list._as_of):
        cached.cache_clear()
    yield
    for cached in (price_list._providers, price_list._as_of):
        cached.cache_clear()


def test_a_price_has_every_kind_of_token_and_the_newest_day_that_the_list_names() -> None:
    price = listed_price("maker", "plain", TODAY)
    assert price.input_usd_per_million == Decimal("0.15")
    assert price.cached_input_usd_per_million == Decimal("0.075")
    assert price.output_usd_per_million == Decimal("0.6")
    assert price.as_of == "2026-05-01"
    assert price.age_note(date(2027, 6, 1)) == "prices of 2026-05-01, more than a year old"


def test_another_name_counts_and_a_pattern_does_not() -> None:
    assert listed_price("maker", "family-2024", TODAY) == listed_price("maker", "plain", TODAY)
    for name in ("family-2025", "PLAIN", "plai"):
        with pytest.raises(NotListed, match="has no") as refused:
            listed_price("maker", name, TODAY)
        assert "plain" in refused.value.names


def test_a_price_holds_from_its_day_on() -> None:
    assert listed_price("maker", "raised", TODAY).input_usd_per_million == 2
    assert listed_price("maker", "to-be-raised", TODAY).input_usd_per_million == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("by-length", "length of the prompt"),
        ("cached-by-length", "length of the prompt"),
        ("by-the-hour", "not by prompt and completion tokens"),
        ("by-request", "each request"),
        ("at-night", "time of day"),
    ],
)
def test_what_no_pair_of_prices_can_say_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(NotListed, match=reason):
        listed_price("maker", name, TODAY)
    found = {listed.name: listed for listed in listed_models("maker", TODAY)}
    assert found[name].price is None
    assert reason in (found[name].reason or "")


def test_an_unknown_provider_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(NotListed, match="no provider 'makers'") as refused:
        listed_models("makers", TODAY)
    assert refused.value.names == ("maker",)


def test_without_the_list_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    with pytest.raises(NotListed, match=r"llm-batch-pipeline\[prices\]"):
        list_version()


def test_the_installed_list_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "genai_prices.data")
    found = {listed.name: listed.price for listed in listed_models("groq", date.today())}
    assert found["openai/gpt-oss-20b"] is not None
    assert list_version().startswith("genai-prices ")
