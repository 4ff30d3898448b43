"""What a thread does beforehand comes in order, and takes a bounded part of the memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from pipeline.sink.ahead import ahead

Call = tuple[Callable[[], int], int]


def test_results_come_in_order_and_from_another_thread() -> None:
    threads = set()

    def call(number: int) -> int:
        threads.add(threading.get_ident())
        return number

    assert list(ahead((partial(call, number), 1) for number in range(100))) == list(range(100))
    assert len(threads) == 1 and threading.get_ident() not in threads


@pytest.mark.parametrize(("size", "most"), [(1, 3), (2 * 2**20, 2), (2**30, 1)])
def test_no_more_is_made_than_two_beforehand_and_of_what_is_large_only_one(size: int, most: int) -> None:
    made = taken = 0
    alive = []

    def calls() -> Iterator[Call]:
        nonlocal made
        for number in range(20):
            yield partial(int, number), size
            made += 1
            alive.append(made - taken)

    for _ in ahead(calls()):
        taken += 1
    assert (taken, max(alive)) == (20, most)


def test_a_failure_comes_after_the_results_before_it() -> None:
    def calls() -> Iterator[Call]:
        yield (lambda: 1), 1
        yield (lambda: 1 // 0), 1
        yield (lambda: 3), 1

    found = ahead(calls())
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)
