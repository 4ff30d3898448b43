"""The record and the cost of an attempt. Pure functions."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from pipeline.catalogue import Price, cost
from pipeline.client import Attempt
from pipeline.journal import Outcome
from pipeline.providers.finish import stopped_at_limit
from pipeline.records import NO_USAGE, Failure, Reply
from pipeline.runner.feed import History


class Charge(NamedTuple):
    """The cost of an attempt in USD: `known` exactly, or `at_most` that much if it may have been billed. None if
    unknown.

    `in_doubt` tells that it may have been billed and that no exact amount is known, with or without an `at_most`.
    """

    known: Decimal | None = None
    at_most: Decimal | None = None
    tokens: int = 0
    """Tokens billed; the most that it can have been where that is not known."""
    in_doubt: bool = False


def charge_of(result: Reply | Failure, price: Price | None, worst: Decimal | None, most_tokens: int) -> Charge:
    """Return what the endpoint charged for an attempt, as far as its reply says; at most `worst` (USD) and
    `most_tokens`.
    """
    usage = result.usage or NO_USAGE
    if (tokens := usage.billed_tokens) is not None:
        known = cost(price, usage)
        at_most = None if known is not None else worst
        return Charge(known, at_most, tokens, in_doubt=at_most is not None)
    if isinstance(result, Reply) or result.possibly_billed:
        return Charge(None, worst, most_tokens, in_doubt=True)
    return Charge()


def record_of(
    attempt: Attempt,
    result: Reply | Failure,
    max_tokens: int | None,
    history: History,
    charge: Charge,
    price: Price | None,
) -> Outcome:
    """Return the record of an attempt, with the row's history brought up to date. `max_tokens` are the request's."""
    reply = result if isinstance(result, Reply) else None
    failure = result if isinstance(result, Failure) else None
    kept = history.kept if failure else None
    total = charge.known if history.cost is None else history.cost + (charge.known or 0)
    if reply and charge.known is None:
        total = None
    usage = result.usage or NO_USAGE
    return Outcome(
        attempts=history.attempts + (0 if failure and not failure.sent else 1),
        cost=total,
        failed_runs=history.failed_runs,
        http_status=result.http_status,
        latency_seconds=attempt.latency,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        billed_usd=charge.known,
        possibly_billed=charge.at_most,
        tokens=charge.tokens,
        in_doubt=charge.in_doubt,
        price=None if price is None or charge.known is None else price.texts,
        usage=usage.raw,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        response=reply.response if reply else None,
        response_type=reply.response_type if reply else None,
        tool_calls=reply.tool_calls if reply else None,
        truncated=truncated(reply, max_tokens) if reply else None,
        finish_reason=reply.finish_reason if reply else None,
        reasoning=reply.reasoning if reply else None,
        served_model=reply.served_model if reply else None,
        error_kind=failure.kind if failure else None,
        error_message=failure.message if failure else None,
        source=kept.source if kept else 0,
        kept_as=int(kept.kept_as) if kept else None,
        stood_for=kept.stood_for if kept else (),
        raw_reply=history.last_reply if attempt.reply is None else attempt.reply,
    )


def truncated(reply: Reply, max_tokens: int | None) -> bool | None:
    """Return whether the answer stopped at max_tokens, by its finish reason or its count; None where neither says."""
    if stopped_at_limit(reply.finish_reason):
        return True
    output = reply.usage.output_tokens
    if output is not None and max_tokens is not None:
        return output >= max_tokens
    return None if max_tokens is not None and reply.finish_reason is None else False


def failed_record(record: Outcome) -> Outcome:
    """Return the record of a row's failure, made from that of its last attempt.

    That attempt has been recorded and billed already, so the event itself sends nothing (tokens None) and bills
    nothing.
    """
    return record._replace(
        billed_usd=None,
        possibly_billed=None,
        tokens=None,
        in_doubt=False,
        failed_runs=record.failed_runs + 1,
    )
