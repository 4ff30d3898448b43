"""`pipeline show`: the first rows as a person reads them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import Console
from pipeline.cli.options import Count, job_options, load, reported, shard_option
from pipeline.records import Row
from pipeline.wording import counted

if TYPE_CHECKING:
    from pipeline.app.use_cases.show import ShownRow
    from pipeline.config import Shard

_MOST_CHARACTERS = 4_000


@click.command()
@job_options
@shard_option
@click.option(
    "-n",
    "count",
    type=Count(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="The first N rows that have an outcome.",
)
@click.option("--failed", is_flag=True, help="Only rows that failed.")
@click.option("--id", "row_id", metavar="ID", help="Only the row with this row_id.")
@reported()
def show(
    console: Console,
    job_file: str,
    overrides: Sequence[str],
    shard: Shard | None,
    count: int,
    failed: bool,
    row_id: str | None,
) -> None:
    """Show the first rows with prompt, answer, tokens and cost, also while the job runs; sends nothing."""
    from pipeline.app.use_cases.show import show as first_outcomes

    job = load(job_file, overrides, shard)
    rows = first_outcomes(job, count=count, failed=failed, row_id=row_id)
    nothing = f"{job.config.name}: no row has {'failed' if failed else 'an outcome'} so far"
    text = "\n\n".join("\n".join(_lines(row, job.config.endpoint.is_simulator)) for row in rows)
    console.result(text or nothing, {"rows": [_plain(_fields(row)) for row in rows]})


COMMANDS = (show,)


def _fields(row: ShownRow) -> Row:
    """Return what is shown of a row; columns of the input whose names mean something else here stand under `input`."""
    first = {"row_id": row.result["row_id"], "prompt": row.prompt, "response": row.result["response"]}
    taken = {*first, *row.result}
    if not taken.isdisjoint(row.carried):
        taken.add("input")
        first["input"] = {name: value for name, value in row.carried.items() if name in taken}
    return {**first, **{name: value for name, value in row.carried.items() if name not in taken}, **row.result}


def _lines(row: ShownRow, is_simulated: bool) -> Iterator[str]:
    result = row.result
    cell = [result["variant"]] if "variant" in result else []
    cell += [f"sample {result['sample_index']}"] if "sample_index" in result else []
    which = f" ({', '.join(cell)})" if cell else ""
    yield f"{result['row_id']}{which}: {result['status']}"
    if row.prompt is not None:
        yield from _labeled("prompt", row.prompt)
    if result["status"] == "failed":
        yield from _labeled("failed", f"{result['error_kind']}: {result['error_message'] or 'no message'}")
    if result["response"]:
        yield from _labeled("answer, truncated at max_tokens" if result["truncated"] else "answer", result["response"])
    elif result["status"] == "succeeded":
        yield "  answer: empty" + (", truncated at max_tokens" if result["truncated"] else "")
    if result.get("parsed") is not None:
        yield from _labeled("parsed", json.dumps(_plain(result["parsed"]), ensure_ascii=False))
    if result["tool_calls"]:
        yield from _labeled("tool calls", result["tool_calls"])
    yield f"  {', '.join(_figures(result, is_simulated))}"


def _labeled(label: str, text: str) -> Iterator[str]:
    left = len(text) - _MOST_CHARACTERS
    shown = text if left <= 0 else f"{text[:_MOST_CHARACTERS]}… ({counted(left, 'character')} more; --json has all)"
    lines = shown.splitlines() or [""]
    if len(lines) == 1:
        yield f"  {label}: {lines[0]}"
        return
    yield f"  {label}:"
    yield from (f"    {line}" for line in lines)


def _figures(result: Row, is_simulated: bool) -> Iterator[str]:
    for name in ("prompt_tokens", "completion_tokens"):
        if result[name] is not None:
            yield counted(result[name], name.replace("_tokens", " token"))
    if result["cost_usd"] is not None:
        yield f"${_money(result['cost_usd'])}{' simulated' if is_simulated else ''}"
    elif result["attempts"]:
        yield "cost unknown" if result["status"] == "succeeded" else "nothing known to be billed"
    if (payer := result.get("shared_from")) is not None:
        yield "from the cache" if payer == "cache" else f"shared from {payer}"
    yield counted(result["attempts"], "request")
    if result.get("answer_attempts", 1) > 1:
        yield counted(result["answer_attempts"], "answer")
    if result["latency_seconds"] is not None:
        yield f"{result['latency_seconds']:.3g} s"


def _money(amount: Decimal) -> str:
    from pipeline.wording import money

    return money(amount)


def _plain(value: Any) -> Any:
    """Return the value as JSON: money as exact decimal text, times in ISO 8601, bytes in Base64, NaN as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return _money(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
