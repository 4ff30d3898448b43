"""What is whole in a damaged checkpoint, put in order in an index on disk.

Events are facts, so a whole one counts wherever it stands, also in a commit that was not finished. Of the named values
the newest whole one counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from pipeline.errors import CheckpointFailed
from pipeline.journal import database
from pipeline.journal.events import RECORDED, Event, State, pack_event, unpack_claim, unpack_head, unpack_record
from pipeline.journal.recovery.carving import Carver, Named, Numbered
from pipeline.journal.recovery.index import SalvageIndex
from pipeline.journal.settings import Settings, parse_settings
from pipeline.journal.store import Journal
from pipeline.journal.totals import Identity, Totals


class Salvage:
    """The whole records of the checkpoint in `directory`, which is only read. `scratch` is the index's file.

    Raises OSError and sqlite3.Error, here and in every method.
    """

    def __init__(self, directory: Path, scratch: Path) -> None:
        self.identity: Identity | None = None
        self.totals = Totals()
        self.settings: list[Settings] = []
        self.runs: list[str] = []
        self.models: dict[int, str] = {}
        """The models that outputs tell of, by the number of the settings."""
        self.last = 0
        """The highest number of an event that was found."""
        self.settings_used = 0
        """The highest number of settings that was found."""
        self._numbers: dict[str, int] = {}
        self.restored = 0
        """How many outcomes were restored."""
        self.index = SalvageIndex(scratch)
        self._carver = Carver(directory)
        try:
            self._take_all()
            self._trust_standing_claims(directory)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        self._carver.close()
        self.index.close()

    def __enter__(self) -> Salvage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- taking in

    def restore(self, event: Event, model: str, after: int) -> None:
        """Take in an outcome that an output tells of, unless the journal has it: the latest of its row up to event
        number `after`. Settings that nothing is known of are known by the `model` from here on.
        """
        known = self.index.settings_of(event)
        if known is not None:
            self.models.setdefault(known, model)
            return
        billed = (event.record.cost_usd or 0) - self.index.cost_before(event)
        record = event.record._replace(billed_usd=billed if billed > 0 else None)
        settings = self._numbers.setdefault(model, self.settings_used + 1 + len(self._numbers))
        self.models[settings] = model
        self.restored += 1
        restored = replace(event, settings=settings, record=record)
        self.index.add_event(after, self.restored, None, pack_event(restored), restored)

    def _take_all(self) -> None:
        for record in self._carver.records():
            # What has the right checksum was written by this program; it can only be of a kind that is not known here.
            with suppress(ValueError, KeyError, TypeError, IndexError):
                if isinstance(record, Named):
                    self._take_named(record)
                elif b"\n" in record.packed:
                    self._take_event(record)
                else:
                    self.index.add_claim(unpack_claim(record.number, record.packed))
        self.last = self.index.last()
        self.settings_used = max(len(self.settings), self.index.last_settings())

    def _take_named(self, record: Named) -> None:
        if record.name == "totals":
            totals = Totals.parse(record.value)
            self.totals = totals if totals.commits > self.totals.commits else self.totals
            return
        if record.name == "identity":
            self.identity = self.identity or Identity.parse(record.value)
        elif record.name == "settings":
            self.settings = max(self.settings, parse_settings(record.value), key=len)
        else:
            self.runs = max(self.runs, json.loads(record.value), key=len)

    def _take_event(self, found: Numbered) -> None:
        head, record = unpack_head(found.number, found.packed), unpack_record(found.packed)
        if head.state not in RECORDED:
            raise ValueError(f"no event has the state {head.state}")
        event = Event(
            head.plan,
            head.position,
            State(head.state),
            head.row_id,
            head.request_hash,
            head.settings,
            head.content,
            record,
        )
        self.index.add_event(found.number, 0, found.place, None, event)

    def _trust_standing_claims(self, directory: Path) -> None:
        """Where SQLite reads the newest commit that is known, the claims that are open there are those that are open.
        Elsewhere every claim that is whole may be, as pages keep what was deleted from them.
        """
        with suppress(CheckpointFailed), closing(Journal(directory, database.open_reader(directory))) as journal:
            claims = journal.claims()
            if journal.totals.commits == self.totals.commits:
                self.index.replace_claims(claims)

    def events(self) -> Iterator[tuple[int, bytes]]:
        """Yield every event with its new number, packed, once the index has numbered them anew."""
        return self.index.events(self._carver.packed)
