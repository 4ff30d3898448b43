"""Rows that share the outcome of another row, which makes the same request and pays for it.

In a plan such a row has the state SHARED and, in place of an event, the position of the row that pays. The journal
holds nothing of it: its outcome is that of the other row.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator
from itertools import groupby

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from pipeline.journal import State
from pipeline.plan.plan import SUCCEEDED, Plan

_OWN = -1
_ROWS_PER_CHUNK = 65_536
_ADOPTED = (int(State.ADOPTED), int(State.ADOPTED_UNPRICED))
_MAY_SHARE = (State.NEW, State.CHANGED)


class Settled(Struct, frozen=True):
    """The outcomes of rows, in arrays of one length.

    They are the state and the event of each row, its own or those of the row that pays, and the position of that row,
    -1 for a row that pays for itself.
    """

    states: npt.NDArray[np.uint8]
    events: npt.NDArray[np.uint64]
    payers: npt.NDArray[np.int64]


def settled(plan: Plan, start: int, stop: int) -> Settled:
    """Return the outcomes of the rows from `start` to before `stop`."""
    states, events = plan.states(start, stop), plan.events(start, stop)
    payers = np.full(len(states), _OWN, np.int64)
    shared = np.flatnonzero(states == State.SHARED)
    if len(shared):
        payers[shared] = events[shared]
        for at in shared.tolist():
            states[at], events[at] = plan.state(int(payers[at])), plan.event(int(payers[at]))
    return Settled(states, events, payers)


def settled_positions(plan: Plan, states: Iterable[State]) -> Iterator[int]:
    """Yield the positions of all rows with an outcome in one of these states, in input order."""
    wanted = [int(one) for one in states]
    for start in range(0, len(plan), _ROWS_PER_CHUNK):
        found = settled(plan, start, start + _ROWS_PER_CHUNK).states
        yield from (np.flatnonzero(np.isin(found, wanted)) + start).tolist()


def adopted_by_payers(plan: Plan) -> set[int]:
    """Return the events whose answers are reused by rows that pay for others."""
    events: set[int] = set()
    for start in range(0, len(plan), _ROWS_PER_CHUNK):
        found = settled(plan, start, start + _ROWS_PER_CHUNK)
        events.update(found.events[np.isin(found.states, _ADOPTED) & (found.payers != _OWN)].tolist())
    return events


def sharers(plan: Plan, groups: Iterable[tuple[object, int]], out: Container[int]) -> Iterator[tuple[int, int]]:
    """Yield each row that shares another row's outcome, and the row that pays, by their positions.

    `groups` gives for each row that makes a request what it has in common with others, and its position, those of one
    group together and in input order. `out` are the rows that wait in a batch. The row that pays is the first that has
    an answer already, else the first that is out, else the first that was sent, else the first of all. A row that was
    sent itself keeps its own outcome.
    """

    def may_share(position: int) -> bool:
        return plan.state(position) in _MAY_SHARE and position not in out

    def rank(position: int) -> int:
        if plan.state(position) in SUCCEEDED:
            return 0
        if position in out:
            return 1
        return 3 if may_share(position) else 2

    for _, rows in groupby(groups, key=lambda one: one[0]):
        positions = array("Q", (position for _, position in rows))
        if len(positions) > 1:
            payer = min(positions, key=lambda position: (rank(position), position))
            for position in positions:
                if position != payer and may_share(position):
                    yield position, payer
