"""The intact records of a damaged checkpoint, collected in an index on disk.

Events are facts, so every intact one counts, wherever it is found, even in an incomplete commit. Of the named values
the newest intact one counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pipeline.errors import CheckpointFailed
from pipeline.journal import database
from pipeline.journal.events import RECORDED, Event, State, pack_event, unpack_claim, unpack_head, unpack_record
from pipeline.journal.recovery.carving import Carver, MetaRow, NumberedRow
from pipeline.journal.recovery.index import SalvageIndex
from pipeline.journal.settings import Settings, parse_settings
from pipeline.journal.store import Journal
from pipeline.journal.totals import Identity, Totals


@contextmanager
def salvaged(directory: Path, scratch: Path) -> Iterator[Salvage]:
    """Collect the intact records of the checkpoint in `directory`, which is only read, and yield them.

    `scratch` is the file of their index. Raises OSError and sqlite3.Error, as every method of Salvage does.
    """
    with closing(SalvageIndex(scratch)) as index, closing(Carver(directory)) as carver:
        found = Salvage(index, carver)
        found.collect(directory)
        yield found


class Salvage:
    """The intact records of a damaged checkpoint. Make one with `salvaged`."""

    def __init__(self, index: SalvageIndex, carver: Carver) -> None:
        self.index = index
        self.identity: Identity | None = None
        self.totals = Totals()
        self.settings: list[Settings] = []
        self.runs: list[str] = []
        self.models: dict[int, str] = {}
        """The models that outputs record, by the number of the settings."""
        self.last = 0
        """The highest number of an event that was found."""
        self.settings_used = 0
        """The highest number of settings that was found."""
        self.restored = 0
        """How many outcomes were restored."""
        self._numbers: dict[str, int] = {}
        self._carver = carver

    def restore(self, event: Event, model: str, after: int) -> None:
        """Add an outcome from an output, unless the journal has it. It is the latest of its row up to event number
        `after`.

        Unknown settings are identified by the `model` from here on.
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
        restored = event._replace(settings_id=settings, record=record)
        self.index.add_event(after, self.restored, None, pack_event(restored), restored)

    def collect(self, directory: Path) -> None:
        """Add every record that is found in the checkpoint."""
        for record in self._carver.records():
            # A right checksum shows that this program wrote it, so it can only be of a kind that is unknown here.
            with suppress(ValueError, KeyError, TypeError, IndexError):
                if isinstance(record, MetaRow):
                    self._add_meta(record)
                elif b"\n" in record.packed:
                    self._add_event(record)
                else:
                    self.index.add_claim(unpack_claim(record.number, record.packed))
        self.last = self.index.last()
        self.settings_used = max(len(self.settings), self.index.last_settings())
        self._trust_readable_claims(directory)

    def _add_meta(self, record: MetaRow) -> None:
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

    def _add_event(self, found: NumberedRow) -> None:
        head, record = unpack_head(found.number, found.packed), unpack_record(found.packed)
        if head.state not in RECORDED:
            raise ValueError(f"no event has the state {head.state}")
        event = Event(
            head.plan,
            head.position,
            State(head.state),
            head.row_id,
            head.request_hash,
            head.settings_id,
            head.content_key,
            record,
        )
        self.index.add_event(found.number, 0, found.place, None, event)

    def _trust_readable_claims(self, directory: Path) -> None:
        """Keep only the open claims that SQLite reads, if it can read the newest commit that is known.

        Otherwise every intact claim may be open, because pages keep deleted rows.
        """
        with suppress(CheckpointFailed), closing(Journal(directory, database.open_reader(directory))) as journal:
            claims = journal.claims()
            if journal.totals.commits == self.totals.commits:
                self.index.replace_claims(claims)

    def events(self) -> Iterator[tuple[int, bytes]]:
        """Yield every event with its new number, packed, after the index has numbered them."""
        return self.index.events(self._carver.packed)
