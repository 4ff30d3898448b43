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

_NOTHING = Decimal(0)


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

    @property
    def total(self) -> Decimal:
        """What counts against a cap: a possible charge with its maximum, an unknown one as nothing."""
        if self.at_most is None:
            return _NOTHING if self.known is None else self.known
        return self.at_most if self.known is None else self.known + self.at_most


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
    if isinstance(result, Failure):
        return _failed_attempt(attempt, result, history, charge, price)
    total = charge.known if history.cost is None or charge.known is None else history.cost + charge.known
    usage = result.usage
    return Outcome(  # by position, which takes a third of the time
        result.response,
        result.response_type,
        result.tool_calls,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        total,
        truncated(result, max_tokens),
        result.finish_reason,
        result.reasoning,
        usage.cached_tokens,
        usage.reasoning_tokens,
        history.attempts + 1,
        None,
        None,
        result.http_status,
        result.served_model,
        attempt.latency,
        attempt.started_at,
        attempt.finished_at,
        usage.raw,
        charge.tokens,
        charge.known,
        charge.at_most,
        charge.in_doubt,
        None if price is None or charge.known is None else price.texts,
        history.failed_runs,
        raw_reply=history.last_reply if attempt.reply is None else attempt.reply,
    )


def _failed_attempt(
    attempt: Attempt, failure: Failure, history: History, charge: Charge, price: Price | None
) -> Outcome:
    kept = history.kept
    usage = failure.usage or NO_USAGE
    return Outcome(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cost=charge.known if history.cost is None else history.cost + (charge.known or 0),
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        attempts=history.attempts + failure.sent,
        error_kind=failure.kind,
        error_message=failure.message,
        http_status=failure.http_status,
        latency_seconds=attempt.latency,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        usage=usage.raw,
        tokens=charge.tokens,
        billed_usd=charge.known,
        possibly_billed=charge.at_most,
        in_doubt=charge.in_doubt,
        price=None if price is None or charge.known is None else price.texts,
        failed_runs=history.failed_runs,
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
