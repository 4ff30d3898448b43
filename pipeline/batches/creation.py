"""The creation of batches, each at most once, whatever dies when.

The intent of a batch, with the claims of its lines, is on disk before anything is uploaded, and its key stands in the
batch's metadata. After a kill, or a creation without an answer, the provider's list says whether the batch exists.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from pipeline.batches.api import BatchState, Refused, Unanswered
from pipeline.batches.desk import Desk
from pipeline.endings import StopKind
from pipeline.journal.batches import OpenBatch

_DAY_SECONDS = 86_400.0
"""How much further back a list is read than the intent: the provider's clock may be another."""


class Creation:
    """Creates batches, and finds those of which it is not known whether they exist.

    A batch is created again only after two looks at the list, the desk's `poll_seconds` apart, that did not find it.
    """

    def __init__(self, desk: Desk, wall_clock: Callable[[], float] = time.time) -> None:
        self._book = desk.book
        self._api = desk.api
        self._calls = desk.calls
        self._poll_seconds = desk.poll_seconds
        self._wall_clock = wall_clock
        self._can_list = False

    def known(self, batch: OpenBatch) -> OpenBatch | None:
        """Return a batch with its id, if it can be known by now; None where there certainly is no such batch."""
        if batch.batch_id is not None:
            return batch
        if batch.file_id is None:
            self.drop(batch)  # a kill came before anything could be created
            return None
        if (state := self._found(batch)) is not None:
            found = replace(batch, batch_id=state.id)
            self._book.update(found)
            return found
        now = self._wall_clock()
        if batch.searched_at is None:
            self._book.update(replace(batch, searched_at=now))
        elif now - batch.searched_at >= self._poll_seconds:
            self.create(replace(batch, searched_at=None))
        return self._book.batches.get(batch.key)

    def _found(self, batch: OpenBatch) -> BatchState | None:
        """Return the batch as the provider's list has it, by its key or its file."""

        def search() -> BatchState | None:
            for state in self._api.batches(batch.intended_at - _DAY_SECONDS):
                if state.key == batch.key or (batch.file_id is not None and state.input_file_id == batch.file_id):
                    return state
            return None

        return self._calls(search)

    def drop(self, batch: OpenBatch) -> None:
        """Take back a batch that does not exist, or was never worked on: its rows are as they were before."""
        for number in self._book.lines_of(batch):
            self._book.give_back(number)
        self._book.close(batch)

    def create(self, batch: OpenBatch) -> None:
        """Create a batch by one call; from the moment before, it may exist."""
        self._book.update(batch)
        try:
            state = self._calls(lambda: self._api.create(batch.file_id or "", batch.window, batch.key))
        except Refused as refusal:
            if refusal.kind is not StopKind.RETRY_AFTER:  # who says when to come back may have created it
                self.drop(batch)
            raise
        except Unanswered:
            return  # whether it exists is looked for
        self._book.update(replace(batch, batch_id=state.id, status=state.status))
        if not state.has_metadata or state.key != batch.key:
            raise Refused(
                StopKind.NO_BATCHES, "the server drops the metadata of batches, by which they are found after a kill"
            )

    def check_listing(self) -> None:
        """Raise Refused where the server does not list its batches, before one is created."""
        if not self._can_list:
            self._calls(lambda: next(self._api.batches(self._wall_clock()), None))
            self._can_list = True
