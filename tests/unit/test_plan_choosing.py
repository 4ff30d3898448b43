"""Rows chosen from a plan: at random for a pilot, evenly to learn from."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np

from pipeline.journal import State
from pipeline.plan import TO_SEND, Plan, drawn_rows, spread_rows

CHUNK = 65_536


def plan_of(rows: int) -> Plan:
    empty = np.zeros(0, np.uint32)
    return Plan(
        number=1,
        fingerprint="",
        digest="",
        latest=np.zeros(rows, np.uint64),
        repeated=empty,
        occurrences=empty,
        orphaned=0,
    )


def test_rows_are_drawn_in_input_order_without_repetition_and_the_same_for_the_same_seed() -> None:
    plan = plan_of(3 * CHUNK + 7)
    drawn = drawn_rows(plan, TO_SEND, 1000, 3)
    assert len(set(drawn)) == 1000
    assert drawn == sorted(drawn)
    assert drawn == drawn_rows(plan, TO_SEND, 1000, 3) != drawn_rows(plan, TO_SEND, 1000, 4)
    assert 0 <= drawn[0] < CHUNK < 2 * CHUNK < drawn[-1] < len(plan)


def test_every_row_that_stands_so_is_equally_likely_and_no_other_is_drawn() -> None:
    plan = plan_of(20)
    for position in range(0, 20, 2):
        plan.put(position, 1, State.ANSWERED)
    counted = Counter(row for seed in range(2000) for row in drawn_rows(plan, TO_SEND, 3, seed))
    assert counted.keys() == set(range(1, 20, 2))
    assert all(480 <= times <= 720 for times in counted.values()), counted
    assert drawn_rows(plan, TO_SEND, 50, 0) == list(range(1, 20, 2))
    assert drawn_rows(plan, [State.RETRY], 5, 0) == []


def test_rows_to_learn_from_are_spread_over_all_that_stand_so_since_an_event() -> None:
    plan = plan_of(2 * CHUNK)
    for position in range(10, 2 * CHUNK, 8):
        plan.put(position, position, State.ANSWERED)
    spread = spread_rows(plan, [State.ANSWERED], 1000)
    assert 900 <= len(spread) <= 1000
    assert len({step for step in np.diff(spread)}) == 1
    assert spread[0] == 10
    assert spread[-1] > 2 * CHUNK - 200
    assert spread_rows(plan, [State.ANSWERED], 1000, since=2 * CHUNK - 20) == [2 * CHUNK - 14, 2 * CHUNK - 6]


def test_choosing_takes_no_memory_that_grows_with_the_rows() -> None:
    plan = plan_of(3_000_000)
    plan.count(*TO_SEND)
    tracemalloc.start()
    assert len(drawn_rows(plan, TO_SEND, 50, 0)) == 50
    assert len(spread_rows(plan, TO_SEND, 2000)) == 2000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
