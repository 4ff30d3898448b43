"""`pipeline inspect` and `pipeline compare`: what answers are like, and how those of two jobs differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import click
from msgspec import to_builtins

from pipeline.cli.console import Console
from pipeline.cli.options import job_options, load, reported, set_and_json
from pipeline.records import JsonObject
from pipeline.wording import counted, money

if TYPE_CHECKING:
    from pipeline.expect.votes import Agreement
    from pipeline.quality import Comparison, Inspected
    from pipeline.quality.quantiles import Quantiles

_MOST_CHARACTERS = 60


@click.command(name="inspect")
@job_options
@click.option("--no-near", is_flag=True, help="Do not look for near duplicates, which needs the extra `near`.")
@reported()
def inspect(console: Console, job_file: str, overrides: Sequence[str], no_near: bool) -> None:
    """Show what the answers so far are like: gaps, lengths, repetitions, how they begin. Sends nothing."""
    from pipeline.app.use_cases.quality import inspect_answers

    job = load(job_file, overrides)
    found = inspect_answers(job, near=not no_near)
    console.result("\n".join([f"{job.config.name}: {counted(found.rows, 'row')}", *_lines(found)]), _figures(found))


@click.command()
@click.argument("job_a", metavar="A")
@click.argument("job_b", metavar="B")
@set_and_json
@reported()
def compare(console: Console, job_a: str, job_b: str, overrides: Sequence[str]) -> None:
    """Compare the answers of two jobs row by row, by row_id. Sends nothing.

    Rows that both answered are compared by `parsed` where both have it, else by the response. --set holds for both.
    """
    from pipeline.app.use_cases.quality import compare_answers

    a, b = load(job_a, overrides), load(job_b, overrides)
    found = compare_answers(a, b)
    names = (a.config.name, b.config.name)
    console.result("\n".join(_compared(found, *names)), _plain(found))


COMMANDS = (inspect, compare)


def _figures(found: Inspected) -> JsonObject:
    figures: JsonObject = to_builtins(found, builtin_types=(Decimal,))
    for one in (figures["variants"] or {}).values():
        one["cost_usd"] = _money(one["cost_usd"])
    return {name: its for name, its in figures.items() if its is not None or name not in ("agreement", "variants")}


def _lines(found: Inspected) -> Iterator[str]:
    repeated = found.duplicates
    near = "" if repeated.near is None else f", {repeated.near:,} nearly (of {repeated.compared:,} compared)"
    yield f"  answers       {found.truncated:,} truncated, {found.empty:,} empty, {found.refused:,} refused"
    yield f"  duplicates    {repeated.exact:,} to the letter{near}"
    if found.distinct_per_prompt is not None:
        yield f"  samples       {found.distinct_per_prompt:g} different answers a row on average"
    for name, agreed in (found.agreement or {}).items():
        yield f"  agreement     {_agreement(name, agreed)}"
    for name, figures in (("prompt", found.prompt), ("response", found.response)):
        yield f"  {name:<12}  characters {_quantiles(figures.characters)}"
        yield f"  {'':<12}  tokens     {_quantiles(figures.tokens)}"
    for variant, its in (found.variants or {}).items():
        yield f"  {variant}"
        yield (
            f"    {counted(its.rows, 'row')}, {its.failed:,} failed, {its.truncated:,} truncated,"
            f" {its.distinct_answers:,} different answers"
        )
        tokens = f"{_number(its.prompt_tokens)} prompt tokens, {_number(its.completion_tokens)} completion tokens"
        yield f"    cost {_shown(its.cost_usd)}, {tokens}"
    if found.openings:
        yield "  openings"
        for one in found.openings:
            yield f"    {one.rows:>8,}  {one.opening[:_MOST_CHARACTERS]}"
    yield f"  {'column':<24} {'null':>7} {'distinct':>10}"
    for name, column in found.columns.items():
        nulls = "unknown" if column.null_rate is None else f"{column.null_rate:.1%}"
        yield f"  {name[:24]:<24} {nulls:>7} {column.distinct:>10,}"


def _agreement(name: str, its: Agreement) -> str:
    if its.share is None:
        return f"of {name}: unknown"
    of = counted(its.rows, "row")
    return f"of {name}: {its.share:.1%} on average over {of}; {its.unanimous:,} unanimous, {its.tied:,} tied"


def _quantiles(found: Quantiles) -> str:
    if found.mean is None:
        return "unknown"
    return f"{found.min:g} to {found.max:g}, median {found.p50:g}, 90% from {found.p5:g} to {found.p95:g}"


def _compared(found: Comparison, a: str, b: str) -> Iterator[str]:
    yield f"{a} and {b}: {counted(found.same, 'answer')} the same, {found.changed:,} changed"
    yield f"  only in {a}: {found.only_a:,}; only in {b}: {found.only_b:,}"
    yield f"  failed in {a}: {found.failed_a:,}; failed in {b}: {found.failed_b:,}"
    for name, share in found.agreement.items():
        yield f"  agreement of {name}: {'unknown' if share is None else f'{share:.1%}'}"
    yield f"  cost: {_shown(found.cost_usd.a)} and {_shown(found.cost_usd.b)}"
    yield f"  tokens: {_number(found.tokens.a)} and {_number(found.tokens.b)}"


def _plain(found: Comparison) -> JsonObject:
    cost = {name: _money(getattr(found.cost_usd, name)) for name in ("a", "b", "difference")}
    tokens = {
        name: None if (count := getattr(found.tokens, name)) is None else int(count)
        for name in ("a", "b", "difference")
    }
    return {**to_builtins(found), "cost_usd": cost, "tokens": tokens}


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else money(amount)


def _number(count: Decimal | int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


def _shown(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"${money(amount)}"
