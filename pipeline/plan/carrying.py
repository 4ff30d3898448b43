"""A plan that takes over from the last one what it knows of rows that are still there.

Under the same settings a row asks what it asked before, so the rows of blocks that the last plan has seen keep their
state, and are neither rendered nor joined. The join is between the other rows and the events of the rows that are gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from pipeline.journal import FAILURES, EventHead, State
from pipeline.plan.blocks import Blocks
from pipeline.plan.matching import index_input, load_journal, match, number_repeated, put_matches, spare_events
from pipeline.plan.plan import SUCCEEDED, Plan
from pipeline.plan.rows import Rows
from pipeline.plan.survey import Survey

_ROWS_AT_ONCE = 65_536
_OWN_EVENT = frozenset({State.NEW, State.ATTEMPTED, State.ANSWERED, State.UNPRICED, *FAILURES})
"""States that a row has by an event of its own, or by none."""


class KnownRows(Struct, frozen=True):
    """The last plan, brought up to date from the journal, and what reads events by their numbers."""

    plan: Plan
    heads: Callable[[Sequence[int]], Iterable[EventHead]]


class _Stretch(Struct, frozen=True):
    """Rows that follow each other in both plans: the number of the first one now and before, and how many."""

    now: int
    before: int
    count: int


class Carried(Struct, frozen=True):
    """A plan that takes over rows, and how many answers they have."""

    plan: Plan
    answers: int


def carry(
    scratch: sqlite3.Connection, rows: Rows, known: KnownRows, directory: Path, *, number: int, fingerprint: str
) -> Carried | None:
    """Return a new plan with what is known of rows that are still there. None if what is known of other rows could
    change one of them; then all are to be joined. Raises as `draft_plan` does.
    """
    old, inventory = known.plan, known.plan.inventory
    assert inventory is not None
    survey = Survey(rows, directory)
    for position, batch in rows.batches(survey.begin_with(inventory) * rows.cells):
        survey.add(position, batch)
    plan = survey.plan(number, fingerprint, inventory.rules)
    assert plan.inventory is not None
    stretches = _stretches(inventory.blocks, plan.inventory.blocks)
    gone = _gone(stretches, inventory.keys.count)
    if not stretches or not _numbered_alike(old, plan, stretches, rows.cells):
        return None
    loose = _events_of(old, gone, rows.cells)
    if loose is None:
        return None
    for stretch in stretches:
        now, before, count = (rows.cells * one for one in (stretch.now, stretch.before, stretch.count))
        plan.latest[now : now + count] = old.latest[before : before + count]
    old.latest = np.zeros(0, np.uint64)  # there is no room for both while the rows are joined
    answers = plan.count(*SUCCEEDED)
    if len(loose):
        is_alone = answers == sum(rows.cells * one.count for one in stretches)
        if not _join(scratch, rows, plan, stretches, _heads(known, loose), is_alone=is_alone):
            return None
    return Carried(plan, answers)


def _stretches(before: Blocks, now: Blocks) -> list[_Stretch]:
    """Return the rows of equal blocks, in their present order; each block of before counts once."""
    left: dict[bytes, list[int]] = {}
    for index in reversed(range(len(before.digests))):
        left.setdefault(before.digests[index], []).append(index)
    starts_before, starts_now = before.starts.tolist(), now.starts.tolist()
    found: list[_Stretch] = []
    for index, (block, count) in enumerate(zip(now.digests, now.rows, strict=True)):
        if indices := left.get(block):
            one = _Stretch(starts_now[index], starts_before[indices.pop()], count)
            last = found[-1] if found else None
            if last and last.now + last.count == one.now and last.before + last.count == one.before:
                found[-1] = replace(last, count=last.count + count)
            else:
                found.append(one)
    return found


def _gaps(taken: Iterable[tuple[int, int]], total: int) -> Iterator[tuple[int, int]]:
    """Yield the first number and the count of what lies between ranges, each given so."""
    at = 0
    for first, count in [*sorted(taken), (total, 0)]:
        if first > at:
            yield at, first - at
        at = first + count


def _gone(stretches: Sequence[_Stretch], total: int) -> list[tuple[int, int]]:
    return list(_gaps(((one.before, one.count) for one in stretches), total))


def _fresh(stretches: Sequence[_Stretch], total: int) -> list[tuple[int, int]]:
    return list(_gaps(((one.now, one.count) for one in stretches), total))


def _numbered_alike(old: Plan, new: Plan, stretches: Sequence[_Stretch], cells: int) -> bool:
    """Return whether equal rows that are still there have the numbers that they had."""
    for one in stretches:
        parts = []
        for plan, first in ((old, one.before * cells), (new, one.now * cells)):
            low, high = np.searchsorted(plan.repeated, np.array([first, first + one.count * cells], np.uint32))
            parts.append((plan.repeated[low:high].astype(np.int64) - first, plan.occurrences[low:high]))
        (places, numbers), (places_now, numbers_now) = parts
        if not np.array_equal(places, places_now) or not np.array_equal(numbers, numbers_now):
            return False
    return True


def _events_of(plan: Plan, gone: Sequence[tuple[int, int]], cells: int) -> npt.NDArray[np.uint64] | None:
    """Return the events of these rows, in ascending order; None if one of them has the event of another row."""
    found = [np.zeros(0, np.uint64)]
    for first, count in gone:
        for start in range(first * cells, (first + count) * cells, _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, (first + count) * cells)
            if not np.isin(plan.states(start, stop), [int(state) for state in _OWN_EVENT]).all():
                return None
            events = plan.events(start, stop)
            found.append(events[events > 0])
    return np.sort(np.concatenate(found))


def _heads(known: KnownRows, events: npt.NDArray[np.uint64]) -> Iterator[EventHead]:
    for start in range(0, len(events), _ROWS_AT_ONCE):
        yield from known.heads(events[start : start + _ROWS_AT_ONCE].tolist())


def _join(
    scratch: sqlite3.Connection,
    rows: Rows,
    plan: Plan,
    stretches: Sequence[_Stretch],
    heads: Iterable[EventHead],
    *,
    is_alone: bool,
) -> bool:
    """Join the other rows with the events of rows that are gone. Returns whether that is all there is to it: an answer
    that does not come back to its own row may be for one of those that are still there. With `is_alone` all of these
    have one.
    """
    assert plan.inventory is not None
    load_journal(scratch, heads)
    wanted = np.zeros(len(plan), np.bool_)
    for first, count in _fresh(stretches, plan.inventory.keys.count):
        wanted[first * rows.cells : (first + count) * rows.cells] = True
    for part in rows.wanted_parts(wanted):
        hashes = (hashed for _, hashed in part.requests())
        scratch.executemany(
            "INSERT INTO input VALUES (?,?,?,?)", zip(part.positions, part.ids, hashes, part.contents, strict=True)
        )
    number_repeated(scratch, plan.repeated, plan.occurrences)
    index_input(scratch)
    plan.orphaned = match(scratch, forget_kept=False)
    spare, adopted = spare_events(scratch)
    if (spare or adopted) and not is_alone:
        return False
    put_matches(scratch, plan)
    plan.inventory = replace(plan.inventory, is_settled=not spare)
    return True
