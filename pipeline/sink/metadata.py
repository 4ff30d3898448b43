"""What an output records about itself, in the metadata of its Parquet file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, field
from msgspec.structs import asdict

from pipeline.catalogue import Price
from pipeline.journal import Journal
from pipeline.journal.checks import is_amount, is_count
from pipeline.records import JsonObject
from pipeline.storage import Location, storage_of

METADATA_KEY = b"llm-batch-pipeline"
"""The key of the file's metadata under which it is stored, as JSON."""


class JournalState(Struct, frozen=True):
    """The journal at the moment when an output was written from it. Money is in USD.

    It shows later whether a journal is older than its output, and what was billed if the journal is lost. None means
    that the output does not record it.
    """

    simulated: bool | None = None
    commits: int = 0
    events: int | None = None
    cost_usd: Decimal = Decimal(0)
    possibly_billed_usd: Decimal = Decimal(0)
    possibly_billed_requests: int | None = None

    @classmethod
    def of(cls, journal: Journal) -> JournalState:
        """Return the state that a journal has now."""
        totals = journal.totals
        return cls(
            journal.simulated,
            totals.commits,
            totals.events,
            totals.cost_usd,
            totals.possibly_billed_usd,
            totals.possibly_billed_requests,
        )


def journals_together(states: Sequence[JournalState]) -> JournalState:
    """Return the sum of what several journals had."""
    counts = [one.possibly_billed_requests for one in states]
    events = [one.events for one in states]
    return JournalState(
        states[0].simulated,
        sum(one.commits for one in states),
        sum(count for count in events if count is not None) if None not in events else None,
        sum((one.cost_usd for one in states), Decimal(0)),
        sum((one.possibly_billed_usd for one in states), Decimal(0)),
        sum(count for count in counts if count is not None) if None not in counts else None,
    )


class OutputMetadata(Struct, frozen=True):
    """What an output records about itself.

    `state` is a digest of its rows and of how they are written. `run_ids` are those of all runs, in order.
    `configuration` is the job file as it was read. None means that the output does not record it.
    """

    job: str | None
    checkpoint_id: str | None
    journal: JournalState
    version: str | None = None
    configuration: JsonObject | None = None
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    """By model."""
    run_ids: tuple[str, ...] = ()
    state: str | None = None
    source_job: JsonObject | None = None
    """The job whose output was the input, its runs, and the hash of that file; None where the input is no output."""

    def encode(self) -> bytes:
        """Return the metadata as JSON text."""
        journal = {**asdict(self.journal), "cost_usd": str(self.journal.cost_usd)}
        journal["possibly_billed_usd"] = str(self.journal.possibly_billed_usd)
        prices = [None if price is None else _price_facts(price) for price in self.prices.values()]
        content = {
            "job": self.job,
            "checkpoint_id": self.checkpoint_id,
            "journal": journal,
            "version": self.version,
            "configuration": self.configuration,
            "price": prices[0] if len(prices) == 1 else None,
            **({"prices": dict(zip(self.prices, prices, strict=True))} if len(prices) > 1 else {}),
            "run_ids": self.run_ids,
            "state": self.state,
            **({} if self.source_job is None else {"source_job": self.source_job}),
        }
        return json.dumps(content, ensure_ascii=False).encode()


class Footer(NamedTuple):
    """What the end of an output tells: what it records about itself, and the number of its rows."""

    metadata: OutputMetadata
    rows: int


def read_metadata(path: Location) -> OutputMetadata | None:
    """Return what an output records about itself; see `read_footer`."""
    found = read_footer(path)
    return None if found is None else found.metadata


def read_footer(path: Location) -> Footer | None:
    """Return what the end of an output tells, as far as it is valid; None if the file is not an output of this program.

    `version`, `configuration` and `prices` are not read back. Raises StoreRefused, StoreFailed.
    """
    try:
        if isinstance(path, Path) and not path.is_file():  # reading a pipe would wait
            return None
        with storage_of(path).open(path) as file:
            footer = pq.read_metadata(file)
        text = (footer.metadata or {}).get(METADATA_KEY)
        found = None if text is None else json.loads(text)
    except (OSError, pa.ArrowException, ValueError, RecursionError):
        return None
    return Footer(_parsed(found), footer.num_rows) if isinstance(found, dict) else None


def _parsed(found: JsonObject) -> OutputMetadata:
    runs, journal = found.get("run_ids"), found.get("journal")
    are_ids = isinstance(runs, list) and all(isinstance(run, str) for run in runs)
    return OutputMetadata(
        job=_text(found.get("job")),
        checkpoint_id=_text(found.get("checkpoint_id")),
        journal=_journal_state(journal) if isinstance(journal, dict) else JournalState(),
        run_ids=tuple(runs) if isinstance(runs, list) and are_ids else (),
        state=_text(found.get("state")),
    )


def _journal_state(facts: JsonObject) -> JournalState:
    simulated = facts.get("simulated")
    return JournalState(
        simulated=simulated if isinstance(simulated, bool) else None,
        commits=_count(facts.get("commits")) or 0,
        events=_count(facts.get("events")),
        cost_usd=_amount(facts.get("cost_usd")),
        possibly_billed_usd=_amount(facts.get("possibly_billed_usd")),
        possibly_billed_requests=_count(facts.get("possibly_billed_requests")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return int(value) if is_count(value) else None


def _amount(value: Any) -> Decimal:
    return Decimal(value) if is_amount(value) else Decimal(0)


def _price_facts(price: Price) -> dict[str, str | None]:
    cached = price.cached_input_usd_per_million
    return {
        "input_usd_per_million": str(price.input_usd_per_million),
        "output_usd_per_million": str(price.output_usd_per_million),
        "as_of": price.as_of,
        **({} if cached is None else {"cached_input_usd_per_million": str(cached)}),
    }
