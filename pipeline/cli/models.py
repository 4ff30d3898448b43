"""`models`: what is known of models and their prices."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime

import click

from pipeline.errors import InvalidInput


@click.command()
@click.option(
    "--prices", "provider", metavar="PROVIDER", help="Show a provider's prices in the list of the extra `prices`."
)
@click.option("--json", "is_json", is_flag=True, help="Print exactly one JSON object on stdout.")
def models(provider: str | None, is_json: bool) -> None:
    """Show the model catalogue: prices, context windows, notes."""
    if provider is not None:
        _show_list(provider, is_json)
    elif is_json:
        _print_catalogue()
    else:
        _show_catalogue()


def _print_catalogue() -> None:
    from pipeline.catalogue import built_in

    facts = [
        {
            "name": m.name,
            "input_usd_per_million": str(m.input_usd_per_million),
            "output_usd_per_million": str(m.output_usd_per_million),
            "context_window": m.context_window,
            "priced_on": m.priced_on,
            "note": m.note,
        }
        for m in built_in().models
    ]
    click.echo(json.dumps({"models": facts}, ensure_ascii=False))


def _show_catalogue() -> None:
    from pipeline.app.jobs.pricing import list_price
    from pipeline.catalogue import built_in

    found = built_in().models
    width = max(len(model.name) for model in found)
    click.echo(f"{'model':<{width}}  {'in $/M':>7} {'out $/M':>8} {'window':>8}  priced on   note")
    for m in found:
        prices = f"{m.input_usd_per_million:>7} {m.output_usd_per_million:>8} {m.context_window:>8,}"
        click.echo(f"{m.name:<{width}}  {prices}  {m.priced_on}  {m.note}".rstrip())
    _tell_ages(list_price(m).age_note(date.today()) for m in found)


def _show_list(provider: str, is_json: bool) -> None:
    from pipeline.catalogue import NotListed, list_version, listed_models
    from pipeline.suggest import nearest

    today = datetime.now(UTC).date()
    try:
        found, source = listed_models(provider, today), list_version()
    except NotListed as error:
        near = nearest(provider, error.names)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(error.names)}" if error.names else ""
        raise InvalidInput(f"--prices {provider}: {error}{hint}") from None
    if is_json:
        facts = [
            {
                "name": m.name,
                "input_usd_per_million": _text(m.price and m.price.input_usd_per_million),
                "cached_input_usd_per_million": _text(m.price and m.price.cached_input_usd_per_million),
                "output_usd_per_million": _text(m.price and m.price.output_usd_per_million),
                "priced_on": m.price and m.price.as_of,
                "note": m.reason or "",
            }
            for m in found
        ]
        click.echo(json.dumps({"provider": provider, "list": source, "models": facts}, ensure_ascii=False))
        return
    width = max((len(model.name) for model in found), default=5)
    click.echo(f"{'model':<{width}}  {'in $/M':>8} {'cached':>8} {'out $/M':>8}  note")
    for m in found:
        if m.price is None:
            click.echo(f"{m.name:<{width}}  {'-':>8} {'-':>8} {'-':>8}  {m.reason}")
            continue
        cached = _text(m.price.cached_input_usd_per_million) or "-"
        prices = f"{m.price.input_usd_per_million:>8} {cached:>8} {m.price.output_usd_per_million:>8}"
        click.echo(f"{m.name:<{width}}  {prices}")
    click.echo(f"From {source}.")
    _tell_ages(m.price.age_note(today) for m in found if m.price is not None)


def _tell_ages(ages: Iterable[str | None]) -> None:
    for age in sorted({age for age in ages if age is not None}):
        click.echo(f"These are {age}.")


def _text(amount: object) -> str | None:
    return None if amount is None else str(amount)


COMMANDS = (models,)
