"""A selection of the rows of a plan, by their state."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt

from pipeline.journal import State
from pipeline.plan.plan import Plan

_ROWS_PER_CHUNK = 65_536


def drawn_rows(plan: Plan, states: Collection[State], count: int, seed: int) -> list[int]:
    """Return the positions of `count` rows in these states, drawn at random with equal probability; all if there are no
    more.

    They are in input order, and the same for the same plan and seed.
    """
    total = plan.count(*states)
    ranks = np.asarray(sorted(random.Random(seed).sample(range(total), min(count, total))), np.int64)
    drawn: list[int] = []
    first = 0
    for positions in _positions(plan, states, 0):
        here = ranks[np.searchsorted(ranks, first) : np.searchsorted(ranks, first + len(positions))]
        drawn += positions[here - first].tolist()
        first += len(positions)
    return drawn


def spread_rows(plan: Plan, states: Collection[State], most: int, since: int = 0) -> list[int]:
    """Return the positions of rows in these states, by event number `since` or a later one, in input order.

    If there are more than `most`, at most that many are returned, evenly spread.
    """
    total = sum(len(positions) for positions in _positions(plan, states, since))
    step = max(1, -(-total // most))
    spread: list[int] = []
    first = 0
    for positions in _positions(plan, states, since):
        spread += positions[-first % step :: step].tolist()
        first += len(positions)
    return spread


def _positions(plan: Plan, states: Collection[State], since: int) -> Iterator[npt.NDArray[np.int64]]:
    wanted = [int(state) for state in states]
    for start in range(0, len(plan), _ROWS_PER_CHUNK):
        stop = start + _ROWS_PER_CHUNK
        yield np.flatnonzero(np.isin(plan.states(start, stop), wanted) & (plan.events(start, stop) >= since)) + start
