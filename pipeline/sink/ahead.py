"""Work that is done by a thread while the next of it is prepared."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_MOST_AHEAD = 2
_MOST_BYTES = 4 * 2**20


def ahead(calls: Iterable[tuple[Callable[[], _T], int]]) -> Iterator[_T]:
    """Yield what each call returns, in order. One thread makes the calls, while this one goes through `calls`.

    With each call comes about how many bytes it takes. This thread is ahead by two calls at most, and by a single one
    if that is large. Raises what a call or `calls` raises, after the results before it.
    """
    waiting: deque[tuple[Future[_T], int]] = deque()
    with ThreadPoolExecutor(1) as beside:
        for call, size in calls:
            while waiting and (len(waiting) > _MOST_AHEAD or size + sum(one for _, one in waiting) > _MOST_BYTES):
                yield waiting.popleft()[0].result()
            waiting.append((beside.submit(call), size))
            del call
        while waiting:
            yield waiting.popleft()[0].result()
