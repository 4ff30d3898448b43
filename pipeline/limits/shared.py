"""One limit for all jobs of a machine that name it, through a file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from pipeline.errors import CheckpointFailed
from pipeline.limits.limit_file import BUCKET_SECONDS, LimitFile
from pipeline.limits.rates import ROUNDING_SECONDS, Rate

_PLACE_SECONDS = 2.0
_BUSY_SECONDS = 0.01
_LOOK_AGAIN_SECONDS = 0.1

Numbers = npt.NDArray[np.float64]


class SharedEntry(Struct):
    """A request in a shared window: the bucket that counts it, and its tokens."""

    number: int
    tokens: int


class SharedLimit:
    """The job's own rates, applied to everything that all jobs of this limit send. Times are monotonic seconds.

    A request that has to wait gets a place in a queue. Later ones are let in only if they leave room for it, and under
    the stricter of both jobs' rates. So the one that waits longest is next, and none of up to 256 jobs starves. A job
    loses its place if it does not ask again for two seconds.

    Raises CheckpointFailed if the file cannot be used, here and in `reserve`. What another method could not write is
    written by the next one that can.
    """

    def __init__(
        self,
        path: Path,
        *,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        boot: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = LimitFile(path, boot, clock=clock)
        self._rates = (requests_per_minute or math.inf, tokens_per_minute or math.inf)
        self._ticket = 0
        self._place: int | None = None
        self._owed: list[tuple[int, int, int]] = []
        self._spread_owed = 0.0
        self._pause_owed = 0.0

    def reserve(self, tokens: int, now: float) -> SharedEntry | float:
        """Let a request in that uses at most so many tokens, or return how many seconds to wait before asking again."""
        with self._file.locked() as is_locked:
            if not is_locked:
                return _BUSY_SECONDS
            self._pay()
            # Another process may have sent after this one began its iteration.
            at = max(now, float(self._file.buckets["number"].max()) * BUCKET_SECONDS)
            wait = self._wait(tokens, at)
            if wait > ROUNDING_SECONDS:
                self._wait_in_line(tokens, at)
                return at + wait - now
            entry = SharedEntry(int(at / BUCKET_SECONDS), tokens)
            self._file.count(entry.number, 1, tokens)
            self._spread(1, tokens, at)
            self._leave_line()
            return entry

    def settle(self, entry: SharedEntry, tokens: int, sent_at: float) -> None:
        """Replace the reserved number of tokens by the actual one, and set when the request was sent, if that was
        later.
        """
        number = max(entry.number, int(sent_at / BUCKET_SECONDS))
        self._spread_owed += tokens - entry.tokens
        if number == entry.number:
            self._owe((number, 0, tokens - entry.tokens))
        else:
            self._owe((number, 1, tokens), (entry.number, -1, -entry.tokens))

    def withdraw(self, entry: SharedEntry) -> None:
        """Remove a request that certainly never reached the endpoint."""
        self._spread_owed -= entry.tokens
        self._owe((entry.number, -1, -entry.tokens))

    def pause(self, until: float) -> None:
        """Pause all jobs of this limit until then, unless a longer pause is set."""
        self._pause_owed = max(self._pause_owed, until)
        self._owe()

    def paused_until(self) -> float:
        """Return until when a job of this limit was asked to pause."""
        with suppress(CheckpointFailed):
            return self._file.paused_until()
        return 0.0

    def close(self) -> None:
        """Leave the queue, and close the file."""
        with suppress(CheckpointFailed), self._file.locked() as is_locked:
            if is_locked:
                self._pay()
                self._leave_line()
        self._file.close()

    # ---- writing, at once or when the file is free

    def _owe(self, *counts: tuple[int, int, int]) -> None:
        self._owed += counts
        with suppress(CheckpointFailed), self._file.locked() as is_locked:
            if is_locked:
                self._pay()

    def _pay(self) -> None:
        while self._owed:
            self._file.count(*self._owed[0])
            del self._owed[0]
        header = self._file.header
        if self._spread_owed or self._pause_owed:
            if self._rates[1] < math.inf:
                header["tokens_spread_until"] += self._spread_owed / Rate.of(self._rates[1]).per_second
            header["paused_until"] = max(float(header["paused_until"][0]), self._pause_owed)
            self._file.write_header()
        self._spread_owed = self._pause_owed = 0.0

    def _spread(self, requests: int, tokens: int, now: float) -> None:
        header = self._file.header
        for name, amount, per_minute in zip(
            ("requests_spread_until", "tokens_spread_until"), (requests, tokens), self._rates, strict=True
        ):
            if per_minute < math.inf:
                rate = Rate.of(per_minute)
                until = min(max(float(header[name][0]), now), now + rate.window)
                header[name] = until + min(amount, rate.capacity) / rate.per_second
        self._file.write_header()

    # ---- the queue

    def _ahead(self, now: float) -> npt.NDArray[np.void]:
        """Return the places of those who have waited longer than this job, and still wait."""
        places = self._file.places
        ticket = self._ticket if self._holds_place() else math.inf
        waits = (places["ticket"] > 0) & (places["asked_at"] > now - _PLACE_SECONDS)
        return places[waits & (places["ticket"] < ticket)]

    def _holds_place(self) -> bool:
        return self._place is not None and self._file.places[self._place]["ticket"] == self._ticket

    def _wait_in_line(self, tokens: int, now: float) -> None:
        file = self._file
        if not self._holds_place():
            free = np.flatnonzero((file.places["ticket"] == 0) | (file.places["asked_at"] <= now - _PLACE_SECONDS))
            if not len(free):
                return
            self._place = int(free[0])
            file.header["ticket"] += 1
            self._ticket = int(file.header["ticket"][0])
            file.write_header()
        assert self._place is not None
        file.places[self._place] = (self._ticket, now, tokens, *self._rates)
        file.write_place(self._place)

    def _leave_line(self) -> None:
        if self._holds_place():
            assert self._place is not None
            self._file.places[self._place]["ticket"] = 0
            self._file.write_place(self._place)
        self._place = None

    # ---- how long to wait

    def _wait(self, tokens: int, now: float) -> float:
        file, ahead = self._file, self._ahead(now)
        ends = (file.buckets["number"] + 1.0) * BUCKET_SECONDS
        requests_rate = min(self._rates[0], ahead["requests_per_minute"].min(initial=math.inf))
        tokens_rate = min(self._rates[1], ahead["tokens_per_minute"].min(initial=math.inf))
        return max(
            _wait(
                requests_rate,
                ends,
                file.buckets["requests"],
                np.ones(len(ahead)),
                1,
                float(file.header["requests_spread_until"][0]),
                now,
            ),
            _wait(
                tokens_rate,
                ends,
                file.buckets["tokens"],
                ahead["tokens"],
                tokens,
                float(file.header["tokens_spread_until"][0]),
                now,
            ),
        )


def _wait(
    per_minute: float, ends: Numbers, amounts: Numbers, ahead: Numbers, amount: float, spread_until: float, now: float
) -> float:
    """Return the seconds until `amount` fits into the window after what is `ahead` of it in the queue.

    `amounts` were sent by the times `ends`.
    """
    if per_minute == math.inf:
        return 0.0
    rate = Rate.of(per_minute)
    amount = min(amount, rate.capacity)
    before = float(np.minimum(ahead, rate.capacity).sum())
    spread = min(spread_until, now + rate.window) - now + (before - max(0.0, rate.burst - amount)) / rate.per_second
    counts = (ends + rate.window > now + ROUNDING_SECONDS) & (amounts > 0)
    held = amounts[counts].astype(np.float64)
    excess = float(held.sum()) + before + amount - rate.capacity
    if excess <= 0:
        return max(0.0, spread)
    # If even an empty window has no room for all of them, those ahead go first.
    free = _LOOK_AGAIN_SECONDS
    if len(held):
        order = np.argsort(ends[counts])
        index = min(int(np.searchsorted(np.cumsum(held[order]), excess)), len(held) - 1)
        free = max(free, float(ends[counts][order][index]) + rate.window - now)
    return max(spread, free)
