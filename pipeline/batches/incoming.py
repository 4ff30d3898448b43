"""What comes back of batches: every line is recorded, and its row is done or asked again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from pipeline.batches.api import BatchState, Gone, Refused, stop_kind
from pipeline.batches.creation import Creation
from pipeline.batches.desk import Desk
from pipeline.batches.lines import EXPIRED, GONE, MISSING, read_answers
from pipeline.endings import StopKind
from pipeline.journal.batches import OpenBatch
from pipeline.providers import Endpoint
from pipeline.redaction import Redaction

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_DOWNLOADS = 3
_LINES_A_LOOK = 100


class Incoming:
    """Looks at the batches that are out, and collects those that have ended. `scratch` is for files of lines.
    With `keeps_replies` each reply is recorded as it came. `is_embedded`: the endpoint ends with the run, and its
    batches with it; nothing was paid for them.
    """

    def __init__(
        self,
        desk: Desk,
        creation: Creation,
        *,
        endpoint: Endpoint,
        redaction: Redaction,
        scratch: Path,
        keeps_replies: bool = False,
        is_embedded: bool = False,
    ) -> None:
        self._book = desk.book
        self._api = desk.api
        self._calls = desk.calls
        self._creation = creation
        self._endpoint = endpoint
        self._redaction = redaction
        self._scratch = scratch
        self._keeps_replies = keeps_replies
        self._is_embedded = is_embedded

    def advance(self) -> bool:
        """Look at each batch that is out, and collect those that have ended. Returns whether any did."""
        return any([self._advanced(batch) for batch in list(self._book.batches.values())])

    def cancel(self) -> Iterator[OpenBatch]:
        """Ask for every batch that is out to be canceled, and yield each that was asked for. One that the provider no
        longer has is given up: its lines may have been billed.
        """
        for batch in list(self._book.batches.values()):
            known = self._creation.known(batch)
            if known is not None and (batch_id := known.batch_id) is not None:
                try:
                    self._calls(lambda batch_id=batch_id: self._api.cancel(batch_id))  # type: ignore[misc]
                except Gone as refusal:  # or a server that cannot cancel
                    self._give_up(known, batch_id, refusal)
                yield known

    def _give_up(self, batch: OpenBatch, batch_id: str, refusal: Gone) -> None:
        """Settle the lines of a batch that the provider does not have. Raises the refusal if it has it after all."""
        try:
            self._calls(lambda: self._api.batch(batch_id))
        except Gone:
            for number in self._book.lines_of(batch):
                self._book.settle(number, GONE)
            self._book.close(batch)
        else:
            raise refusal

    def _advanced(self, batch: OpenBatch) -> bool:
        known = self._creation.known(batch)
        if known is None or (batch_id := known.batch_id) is None:
            return known is None
        try:
            state = self._calls(lambda: self._api.batch(batch_id))
        except Gone:
            if not self._is_embedded:
                raise
            self._creation.drop(known)
            return True
        known = replace(known, status=state.status, completed=state.completed, failed=state.failed)
        self._book.update(known)
        if state.status not in ENDED:
            return False
        self._collect(known, state)
        return True

    def _collect(self, batch: OpenBatch, state: BatchState) -> None:
        """Record what came of every line of a batch that has ended."""
        if state.status == "failed":
            self._creation.drop(batch)
            words = state.message or "it gave no reason"
            raise Refused(StopKind.BATCH_FAILED, f"the provider failed the batch {state.id}: {words}")
        refusal = self._record(batch, state)
        for number in self._book.lines_of(batch):
            if state.status == "cancelled":
                self._book.give_back(number)
            else:
                self._book.settle(number, EXPIRED if state.status == "expired" else MISSING)
        self._book.close(batch)
        if (stop := self._book.refusals.stop) is not None:
            refusal = refusal or Refused(stop.kind, stop.message)
        if refusal is not None:
            raise refusal

    def _record(self, batch: OpenBatch, state: BatchState) -> Refused | None:
        refusal = None
        known = self._book.line_ids(batch)
        for _ in range(_DOWNLOADS):
            with_words = 0
            files, keeps = self._downloaded(state), self._keeps_replies
            for answer in read_answers(files, self._endpoint, self._redaction, keeps_replies=keeps):
                with_words += 1
                if not with_words % _LINES_A_LOOK:
                    self._calls.look()
                if (number := known.pop(answer.custom_id, None)) is None:
                    continue
                if answer.result is None:
                    self._book.give_back(number)
                elif (failure := self._book.settle(number, answer.result, answer.reply)) is not None:
                    refusal = refusal or Refused(stop_kind(failure), failure.message)
            if with_words >= state.completed + state.failed or not known:
                break
        return refusal

    def _downloaded(self, state: BatchState) -> Iterator[Path]:
        for name, file_id in (("answers", state.output_file_id), ("errors", state.error_file_id)):
            if file_id is None:
                continue
            path = self._scratch / f"{name}.jsonl"
            self._calls(lambda file_id=file_id, path=path: self._api.download(file_id, path))  # type: ignore[misc]
            yield path
            path.unlink()
