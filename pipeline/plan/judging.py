"""The check of recorded answers against what the job expects of them now. It sends nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from pipeline.errors import NOT_HELD
from pipeline.expect import Expected
from pipeline.journal import Event, Journal, Outcome, State
from pipeline.plan.draft import PlanDraft
from pipeline.plan.plan import Plan
from pipeline.plan.rows import Rows
from pipeline.records import JsonObject

_ROWS_AT_ONCE = 1000
_HOW_IT_IS_ASKED = frozenset({"send", "attempts", "feedback"})


def judge_again(made: PlanDraft, journal: Journal, expected: Expected | None, *, every: bool = False) -> list[int]:
    """Judge the answers that were made under another expectation, and with `every` all answers, also those that a row
    keeps.

    A row whose answer is rejected is changed. Returns the positions of rows whose last answer was rejected before and
    is accepted now. Each of them counts as answered, by the event that rejected it.
    """
    now = _judged_by({} if expected is None else expected.facts)
    same = [number for number, known in journal.settings().items() if _judged_by(known.get("expect", {})) == now]
    if not every and len(same) == len(journal.settings()):
        return []
    if expected is not None:
        _refuse(made, journal, expected, () if every else same)
    return _hold_now(made.plan, journal, expected)


def answers_again(
    made: PlanDraft, rows: Rows, positions: Sequence[int], journal: Journal, settings: Sequence[int]
) -> list[Event]:
    """Return the events that record the answers which `judge_again` now accepts, and those that are valid again after
    the row was asked for others: what these cost is part of the row's cost.
    """
    plan = made.plan
    again = [(position, plan.event(position), plan.event(position)) for position in positions]
    again += list(made.overtaken())
    known = {entry.seq: (entry, record) for entry, record in journal.records(sorted({*_numbers(again)}))}
    events = []
    for position, answer, latest in again:
        (entry, record), (_, so_far) = known[answer], known[latest]
        state = State.UNPRICED if so_far.cost is None else State.ANSWERED
        events.append(
            Event(
                plan.number,
                position,
                state,
                entry.row_id,
                entry.request_hash,
                settings[rows.variant_of(position)],
                entry.content_key,
                # That attempt has been recorded and billed already.
                record._replace(
                    attempts=so_far.attempts,
                    cost=so_far.cost,
                    answer_attempts=so_far.answer_attempts,
                    error_kind=None,
                    error_message=None,
                    objection=None,
                    billed_usd=None,
                    possibly_billed=None,
                    tokens=None,
                    in_doubt=False,
                ),
            )
        )
    return events


def _numbers(again: Iterable[tuple[int, int, int]]) -> Iterator[int]:
    for _, answer, latest in again:
        yield from (answer, latest)


def _judged_by(facts: JsonObject) -> JsonObject:
    return {name: value for name, value in facts.items() if name not in _HOW_IT_IS_ASKED}


def _refuse(made: PlanDraft, journal: Journal, expected: Expected, same: Collection[int]) -> None:
    current = made.answers_but_of(same)
    refused: list[int] = []
    while part := dict(islice(current, _ROWS_AT_ONCE)):
        for entry, record in journal.records(sorted(part)):
            if expected.objection(record.response, truncated=record.truncated) is not None:
                refused.append(part[entry.seq])
    for position in refused:
        made.refuse(position)


def _hold_now(plan: Plan, journal: Journal, expected: Expected | None) -> list[int]:
    found: list[int] = []
    for positions in plan.positions([State.ATTEMPTED, State.FAILED]):
        by_event = {plan.event(position): position for position in positions}
        found += [
            by_event[entry.seq]
            for entry, record in journal.records(sorted(by_event))
            if record.error_kind in NOT_HELD and _holds(record, expected)
        ]
    for position in found:
        plan.mark(position, State.ANSWERED)
    return sorted(found)


def _holds(record: Outcome, expected: Expected | None) -> bool:
    return expected is None or expected.objection(record.response, truncated=record.truncated) is None
