"""Rows on their way into batches: as many lines as fit, within the caps.

All lines of a batch ask the same model, for OpenAI fails a file with several (platform.openai.com/docs/guides/batch).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct, field
from msgspec.structs import replace

from pipeline.batches.api import Refused, Unanswered, new_key
from pipeline.batches.calls import CallInterrupted
from pipeline.batches.creation import Creation
from pipeline.batches.desk import Desk
from pipeline.batches.lines import line_id
from pipeline.batches.orders import Orders
from pipeline.config.models import BatchConfig
from pipeline.journal import Claim, Event
from pipeline.journal.batches import OpenBatch
from pipeline.providers import Endpoint
from pipeline.providers.batch_lines import request_line
from pipeline.runner import Asking
from pipeline.runner.admission import Admission, OverBudget
from pipeline.runner.feed import Work

_MEGABYTE = 1_000_000

_Made = tuple[OpenBatch, Path, list[Claim]]
"""A batch that is not on disk yet, the file of its lines, and their claims."""


class _Draft(Struct):
    """The lines of a batch while it is filled; `size` is in bytes."""

    key: str
    path: Path
    file: BinaryIO
    claims: list[Claim] = field(default_factory=list)
    size: int = 0

    def takes(self, line: bytes, config: BatchConfig) -> bool:
        """Return whether a further line fits. The first one always does."""
        is_small = self.size + len(line) <= config.megabytes * _MEGABYTE
        return not self.claims or (len(self.claims) < config.requests and is_small)


class Purchase(Struct, frozen=True):
    """What a run buys by batches: the rows of a job, at most `limit` lines of them, None for all.

    `asking` makes what a row asks after an invalid answer. `scratch` is for files of lines.
    """

    job: str
    config: BatchConfig
    endpoint: Endpoint
    limit: int | None
    scratch: Path
    asking: Asking | None = None


class Outgoing:
    """Puts rows into batches.

    `works` gives the rows to send, in order, each time that it is called. Nothing goes out while `orders` hold the run.
    `over_budget` says which cap holds the next row back, None where none does.
    """

    def __init__(
        self,
        works: Callable[[], Iterator[Work | Event]],
        desk: Desk,
        creation: Creation,
        orders: Orders,
        purchase: Purchase,
        admission: Admission,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._works = works
        self._book = desk.book
        self._api = desk.api
        self._calls = desk.calls
        self._creation = creation
        self._orders = orders
        self._job = purchase.job
        self._config = purchase.config
        self._endpoint = purchase.endpoint
        self._admission = admission
        self._lines_left = math.inf if purchase.limit is None else purchase.limit
        self._scratch = purchase.scratch
        self._asking = purchase.asking
        self._clock = clock
        self._wall_clock = wall_clock
        self._feed: Iterator[Work | Event] | None = None
        self._next: Work | None = None
        self._made: list[_Made] = []
        self._is_fed = False
        self.over_budget: str | None = None

    @property
    def has_more(self) -> bool:
        """Whether there may be rows that this run still puts into a batch."""
        return bool(self._made) or (self._lines_left > 0 and (not self._is_fed or self._book.asks_again))

    def form(self, *, try_again: bool) -> bool:
        """Put rows into batches until none is left or a cap is reached; one that was reached before holds until
        `try_again`. Returns whether a batch was made.
        """
        if try_again:
            self.over_budget = None
        if self.over_budget is not None:
            return False
        has_made = False
        while not self._orders.is_held and (made := self._made or self._fill()):
            self._made = made
            self._calls.look()
            if self._orders.is_held:
                break
            batch, path, claims = made.pop(0)
            self._book.open(batch, claims)
            try:
                file_id = self._calls(lambda path=path: self._api.upload(path))  # type: ignore[misc]
            except (Refused, Unanswered, CallInterrupted):
                self._creation.drop(batch)  # nothing was created of it
                raise
            path.unlink()
            self._creation.create(replace(batch, file_id=file_id))
            has_made = True
        return has_made

    def _fill(self) -> list[_Made]:
        """Write the lines of the next batches to files, of one for each model, until one of them is full or no row is
        left.
        """
        drafts: dict[str, _Draft] = {}
        with ExitStack() as files:
            while self._lines_left > 0:
                self._calls.look()
                if (work := self._next_work()) is None:
                    break
                if self._asking is not None:
                    self._asking.prepare(work)
                line = request_line(line_id(work.row_id, work.request_hash), work.request, self._endpoint)
                draft = drafts.get(work.request.model)
                if draft is not None and not draft.takes(line, self._config):
                    self._next = work
                    break
                try:
                    reserved = self._admission.reserve(work.request, self._clock())
                except OverBudget as refusal:
                    self._next, self.over_budget = work, str(refusal)
                    break
                assert not isinstance(reserved, float)  # no rate holds for lines
                if draft is None:
                    path = self._scratch / f"requests-{len(drafts)}.jsonl"
                    draft = _Draft(new_key(self._job), path, files.enter_context(path.open("wb")))
                    drafts[work.request.model] = draft
                draft.file.write(line)
                draft.size += len(line)
                self._lines_left -= 1
                draft.claims.append(self._book.claim(work, reserved, draft.key))
        if drafts:
            self._creation.check_listing()
        return [self._made_of(model, draft) for model, draft in drafts.items()]

    def _made_of(self, model: str, draft: _Draft) -> _Made:
        factor, window = str(self._config.price_factor), self._config.window
        worst = sum((Decimal(claim.worst_cost or 0) for claim in draft.claims), Decimal(0))
        price, lines = self._book.prices.of_single(model), len(draft.claims)
        texts = None if price is None else price.texts
        batch = OpenBatch(draft.key, self._wall_clock(), lines, factor, window, worst_usd=str(worst), price=texts)
        return batch, draft.path, draft.claims

    def _next_work(self) -> Work | None:
        """Return the next row that is in no batch; rows that make no request are recorded on the way."""
        if self._next is not None:
            work, self._next = self._next, None
            return work
        if self._is_fed and self._book.asks_again:
            self._is_fed, self._book.asks_again = False, False
        if self._is_fed:
            return None
        self._feed = self._feed or self._works()
        for found in self._feed:
            if isinstance(found, Event):
                self._book.add(found)
            elif not self._book.is_out(found):
                return found
        self._feed, self._is_fed = None, True
        return None
