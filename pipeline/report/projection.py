"""The journal's events -> the figures of a report, in one pass and in memory that does not grow with them, but for a
byte an event.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from pipeline.expect.votes import Agreement
from pipeline.journal import ADOPTIONS, ANSWERS, FAILURES, Journal, Outcome
from pipeline.plan import FAILED, SUCCEEDED, Plan, input_row_id
from pipeline.report.agreement import SampleAgreement
from pipeline.report.histogram import Histogram, LogHistogram
from pipeline.report.runs import RunTable
from pipeline.report.timeline import Timeline
from pipeline.report.variants import Variants

MOST_ROWS = 10
"""Rows that a table shows at most."""

_MOST_EXAMPLES = 3
_MOST_PRICES = 5
_SHORTEST_LATENCY = 0.001
_ROWS_A_CHUNK = 65_536

Price = tuple[str, str, str | None, str | None]
"""USD per million prompt tokens and completion tokens, and the date of the price."""


class Kind(Struct):
    """One kind of error: the rows that stand as failed for it, the attempts that ended so, and the ids of some of them,
    rows that failed first. `message` is what was said of the first one.
    """

    rows: int = 0
    attempts: int = 0
    failed_ids: list[str] = field(default_factory=list)
    retried_ids: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def examples(self) -> list[str]:
        """Some row ids."""
        return [*self.failed_ids, *(one for one in self.retried_ids if one not in self.failed_ids)][:_MOST_EXAMPLES]


class RowFigures(Struct):
    """What is shown of one row. Nothing of what it asked or was answered."""

    row_id: str
    outcome: str
    """`succeeded`, or the error's kind."""
    latency_seconds: float | None
    cost_usd: Decimal | None
    attempts: int
    prompt_tokens: int | None
    completion_tokens: int | None


class Top:
    """The rows with the largest values, at most 10 of them; of equal ones the earlier. They are known by the number of
    their event.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Any, int]] = []
        self._rows: dict[int, RowFigures] = {}

    def offer(self, value: float | Decimal, seq: int, row: RowFigures) -> None:
        """Take in a row, if it is among them so far."""
        if len(self._heap) < MOST_ROWS:
            heapq.heappush(self._heap, (value, -seq))
        elif value > self._heap[0][0]:
            del self._rows[-heapq.heapreplace(self._heap, (value, -seq))[1]]
        else:
            return
        self._rows[seq] = row

    def rename(self, seq: int, row_id: str) -> None:
        """Give the answer of an event to another row."""
        if seq in self._rows:
            self._rows[seq].row_id = row_id

    @property
    def rows(self) -> list[RowFigures]:
        """The rows, the largest first."""
        return [self._rows[-seq] for _, seq in sorted(self._heap, reverse=True)]


class Figures(Struct):
    """What a report shows of a journal. Requests and tokens are those of every attempt ever sent; the
    histograms are of the current answers, the rows of the current outcomes.
    """

    requests: int = 0
    failed_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_seconds: LogHistogram = field(default_factory=lambda: LogHistogram(_SHORTEST_LATENCY))
    tokens_of_prompts: Histogram = field(default_factory=Histogram)
    tokens_of_answers: Histogram = field(default_factory=Histogram)
    timeline: Timeline = field(default_factory=Timeline)
    first_sent: float | None = None
    last_ended: float | None = None
    kinds: defaultdict[str, Kind] = field(default_factory=lambda: defaultdict(Kind))
    slowest: Top = field(default_factory=Top)
    costliest: Top = field(default_factory=Top)
    truncated: int = 0
    truncated_rows: dict[int, RowFigures] = field(default_factory=dict)
    prices: dict[Price, None] = field(default_factory=dict)
    runs: RunTable = field(default_factory=RunTable)
    variants: Variants = field(default_factory=lambda: Variants({}))
    agreement: Mapping[str, Agreement] = field(default_factory=dict)


def project(
    journal: Journal,
    plan: Plan | None,
    now: float | None = None,
    *,
    variants: Mapping[str, str] | None = None,
    agreement: SampleAgreement | None = None,
    has_marks: bool = False,
) -> Figures:
    """Read every event of a journal once, in order.

    Args:
        plan: the states of the rows, updated from the journal; without one every outcome counts.
        now: Unix seconds, where a run is under way: its open claims are requests in flight.
        variants: the names of the variants of a sweep, by what the journal calls them.
        agreement: takes in the answers, where rows have several.
        has_marks: as for `input_row_id`.

    Raises CheckpointDamaged.
    """
    figures = Figures(runs=RunTable(journal.runs()))
    if variants:
        figures.variants = Variants(variants, journal.index())
    stands = None if plan is None else _standing_events(plan, journal.totals.events)
    for entry, record in journal.records(range(1, journal.totals.events + 1)):
        seq, state, row_id = entry.seq, entry.state, input_row_id(entry.row_id, has_marks=has_marks)
        if record.tokens is not None:
            _take_attempt(figures, row_id, record)
        if state in ADOPTIONS:
            _rename(figures, record.source, row_id)
            continue
        if stands is None or stands[seq]:
            if state in ANSWERS:
                _take_answer(figures, record)
            if state in ANSWERS or state in FAILURES:
                figures.variants.add(entry, record)
                if agreement is not None:
                    agreement.add(entry, record)
                _take_row(figures, seq, row_id, record)
    if agreement is not None:
        figures.agreement = agreement.figures
    if now is not None:
        for claim in journal.claims():
            figures.timeline.add_in_flight(min(now, claim.claimed_at), now)
    return figures


def _standing_events(plan: Plan, events: int) -> npt.NDArray[np.bool_]:
    """Return which events are the outcome of a row, by their number."""
    stands = np.zeros(events + 1, np.bool_)
    outcomes = [int(one) for one in (*SUCCEEDED, *FAILED)]
    for start in range(0, len(plan), _ROWS_A_CHUNK):
        is_outcome = np.isin(plan.states(start, start + _ROWS_A_CHUNK), outcomes)
        stands[plan.events(start, start + _ROWS_A_CHUNK)[is_outcome]] = True
    return stands


def _take_attempt(figures: Figures, row_id: str, record: Outcome) -> None:
    """Count a request that was sent, whatever its outcome."""
    is_failed = record.error_kind is not None
    figures.requests += 1
    figures.runs.add(record)
    figures.prompt_tokens += record.prompt_tokens or 0
    figures.completion_tokens += record.completion_tokens or 0
    if record.error_kind is not None:
        figures.failed_requests += 1
        kind = figures.kinds[record.error_kind]
        kind.attempts += 1
        _note(kind, kind.retried_ids, row_id, record)
    if record.price is not None and len(figures.prices) < _MOST_PRICES:
        figures.prices[record.price] = None
    end = record.finished_at
    if end is None:
        return
    start = end - (record.latency_seconds or 0.0)
    figures.first_sent = start if figures.first_sent is None else min(start, figures.first_sent)
    figures.last_ended = end if figures.last_ended is None else max(end, figures.last_ended)
    figures.timeline.add(start, end, failed=is_failed, cost_usd=float(record.billed_usd or 0))


def _take_answer(figures: Figures, record: Outcome) -> None:
    """Return how long it took and how long it is."""
    if record.latency_seconds is not None:
        figures.latency_seconds.add(record.latency_seconds)
    if record.prompt_tokens is not None:
        figures.tokens_of_prompts.add(record.prompt_tokens)
    if record.completion_tokens is not None:
        figures.tokens_of_answers.add(record.completion_tokens)


def _take_row(figures: Figures, seq: int, row_id: str, record: Outcome) -> None:
    """Count a row with its outcome, an answer or a failure."""
    latency, cost, kind = record.latency_seconds, record.cost, record.error_kind
    row = RowFigures(
        row_id,
        kind or "succeeded",
        latency,
        cost,
        record.attempts,
        record.prompt_tokens,
        record.completion_tokens,
    )
    if latency is not None:
        figures.slowest.offer(latency, seq, row)
    if row.cost_usd is not None:
        figures.costliest.offer(row.cost_usd, seq, row)
    if kind is not None:
        figures.kinds[kind].rows += 1
        _note(figures.kinds[kind], figures.kinds[kind].failed_ids, row_id, record)
    elif record.truncated:
        figures.truncated += 1
        if len(figures.truncated_rows) < MOST_ROWS:
            figures.truncated_rows[seq] = row


def _note(kind: Kind, ids: list[str], row_id: str, record: Outcome) -> None:
    if len(ids) < _MOST_EXAMPLES and row_id not in ids:
        ids.append(row_id)
    kind.message = kind.message or record.error_message or ""


def _rename(figures: Figures, source: int, row_id: str) -> None:
    """Count a row that reuses the answer of an event."""
    figures.slowest.rename(source, row_id)
    figures.costliest.rename(source, row_id)
    if source in figures.truncated_rows:
        figures.truncated_rows[source].row_id = row_id
