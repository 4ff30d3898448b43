"""The requests that a plan would send, and what they would come to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from itertools import islice

from msgspec.structs import replace

from pipeline.app.jobs.job import OpenJob
from pipeline.estimate import Estimate, Part, Range, Sizes, estimate_parts
from pipeline.journal import State
from pipeline.plan import TO_SEND, Plan, UnsentFailure
from pipeline.records import Request

_SAMPLE_ROWS = 200
_DIGITS = 6


def requests_to_send(opened: OpenJob, plan: Plan, states: Collection[State] = TO_SEND) -> Iterator[Request | None]:
    """Yield the request of each row that would be sent, in input order; None for a row that has none."""
    for part in opened.rows.wanted_parts(plan.which(states)):
        for request, _ in part.requests():
            yield None if isinstance(request, UnsentFailure) else request


def quick_estimate(opened: OpenJob, plan: Plan, states: Collection[State]) -> Estimate:
    """Return an estimate from the first rows to be sent, as if all were like them."""
    sizes = {model: Sizes(answers=opened.rows.most_answers) for model in opened.terms}
    sampled = 0
    for request in islice(requests_to_send(opened, plan, states), _SAMPLE_ROWS):
        sampled += 1
        if request is not None:
            sizes[request.model].add(request)
    share = plan.count(*states) / max(1, sampled)
    parts = [
        Part(scaled(sizes[model], share), terms.price, template=terms.chat_template)
        for model, terms in opened.terms.items()
    ]
    return estimate_parts(parts, opened.job.config.limits)


def scaled(sizes: Sizes, share: float) -> Sizes:
    """Return the sizes of so many times as many requests."""
    counts = {name: round(getattr(sizes, name) * share) for name in Sizes.__struct_fields__ if name != "answers"}
    return replace(sizes, **counts)


def rounded_usd(amounts: Range[Decimal]) -> Range[Decimal]:
    """Return a range of USD, exact if all is known, else with six significant digits and bounds rounded outward."""
    if amounts.low == amounts.high:
        return amounts
    ways = (ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_CEILING)
    values = (amounts.low, amounts.expected, amounts.high)
    low, expected, high = (
        Context(prec=_DIGITS, rounding=way).plus(value) for way, value in zip(ways, values, strict=True)
    )
    return Range(low, expected, high)
