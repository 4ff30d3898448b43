"""What the journal holds: an event for each thing that happened to a row, and the claims of requests in flight.

Events are facts and are only ever appended. The latest event of a row tells its state.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.json import decode as from_json

from pipeline.journal.outcome import Outcome, decode, facts_of
from pipeline.surrogates import well_formed

_ENCODER = msgspec.json.Encoder()


class State(IntEnum):
    """The state of a row. Events record it, and a plan keeps one for each row; the numbers are stored by both."""

    NEW = 0
    """Never sent (in a plan alone)."""
    ATTEMPTED = 1
    """Sent, without an outcome so far: an attempt that is retried, or one interrupted by a kill."""
    ANSWERED = 2
    UNPRICED = 3
    """Answered, at an unknown cost."""
    FAILED_PASSING = 4
    """Failed for a cause that may have passed by the next run."""
    FAILED = 5
    """Failed because of the row itself."""
    ADOPTED = 6
    """Reuses, or keeps, the answer of the event that the record's `source` names. If a longer answer was asked for in
    vain, the record describes that attempt too.
    """
    ADOPTED_UNPRICED = 7
    CHANGED = 8
    """Has an answer, but to another request (in a plan alone)."""
    RETRY = 9
    """Failed, and is sent again by this run (in a plan alone)."""
    TRUNCATED = 10
    """Has a truncated answer, and this run asks for a longer one (in a plan alone). Its event is an adoption, by which
    the row keeps the answer that it has.
    """
    SHARED = 11
    """Makes the same request as another row, and shares its outcome (in a plan alone)."""


ANSWERS = (State.ANSWERED, State.UNPRICED)
ADOPTIONS = (State.ADOPTED, State.ADOPTED_UNPRICED)
FAILURES = (State.FAILED_PASSING, State.FAILED)
RECORDED = (State.ATTEMPTED, *ANSWERS, *FAILURES, *ADOPTIONS)
"""The states that events can have."""


class EventHead(NamedTuple):
    """An event without its record, under its number `seq`; the other fields are those of an `Event`.

    `source` is the number of the event whose answer an adoption reuses, else 0.
    """

    seq: int
    plan: int
    position: int
    state: int
    row_id: str
    request_hash: str
    settings_id: int
    content_key: str
    source: int


class Event(NamedTuple):
    """One fact about a row.

    `position` is the row's position in the input, valid only within plan number `plan`; `row_id` and `request_hash` are
    its identity. `settings_id` is the number of the settings that it was asked under. `content_key` is that of all the
    row's input columns, empty if it is not known.
    """

    plan: int
    position: int
    state: State
    row_id: str
    request_hash: str
    settings_id: int
    content_key: str
    record: Outcome

    def __repr__(self) -> str:
        """Return the event without its record, which holds an answer."""
        return f"Event{self[:-1]}"


class Claim(Struct, frozen=True):
    """A request that is about to be sent, recorded before it is sent.

    `claimed_at` is in Unix seconds. `worst_cost` is the maximum that the request can cost (USD, exact decimal text),
    None if prices are unknown; `worst_tokens` is the maximum number of tokens. `history` is what was known of the row
    before. If the row keeps an answer until a longer one arrives, `history` names the answer's event (`source`) and the
    state of events that keep it (`kept_as`). `batch` is the key of the batch that it is a line of, empty for a single
    request.
    """

    number: int
    plan: int
    position: int
    row_id: str
    request_hash: str
    settings_id: int
    content_key: str
    claimed_at: float
    worst_cost: str | None
    worst_tokens: int
    history: Outcome
    batch: str = ""

    def __repr__(self) -> str:
        """Return the claim without its history, which may hold an answer."""
        return f"Claim({self.number}, {self.plan}, {self.position}, {self.row_id!r})"


def pack_event(event: Event) -> bytes:
    """Return an event as the journal stores it: a JSON line with its head, then its record."""
    source = event.record.source if event.state in ADOPTIONS else 0
    head = [
        event.plan,
        event.position,
        int(event.state),
        event.row_id,
        event.request_hash,
        event.settings_id,
        event.content_key,
        source,
    ]
    return _encode(head) + b"\n" + _encode(facts_of(event.record))


def unpack_head(seq: int, packed: bytes) -> EventHead:
    """Return the head of event number `seq`."""
    return EventHead(seq, *from_json(packed[: packed.index(b"\n")]))  # the list is that of pack_event


def record_text(packed: bytes) -> bytes:
    """Return the record of an event as JSON text."""
    return packed[packed.index(b"\n") + 1 :]


def unpack_record(packed: bytes) -> Outcome:
    """Return the record of an event."""
    return decode(from_json(record_text(packed)))


def with_source(packed: bytes, source: int) -> bytes:
    """Return a packed adoption with another number of the event whose answer it reuses."""
    *head, _ = from_json(packed[: packed.index(b"\n")])
    return _encode([*head, source]) + b"\n" + _encode({**from_json(record_text(packed)), "source": source})


_HISTORY = 9
"""Where a claim's history stands in what is stored; a batch follows where there is one."""


def pack_claim(claim: Claim) -> bytes:
    """Return a claim as the journal stores it, without its number."""
    facts = [
        claim.plan,
        claim.position,
        claim.row_id,
        claim.request_hash,
        claim.settings_id,
        claim.content_key,
        claim.claimed_at,
        claim.worst_cost,
        claim.worst_tokens,
        facts_of(claim.history),
    ]
    return _encode([*facts, claim.batch] if claim.batch else facts)


def unpack_claim(number: int, packed: bytes) -> Claim:
    """Return the claim with the given number."""
    fields = from_json(packed)
    fields[_HISTORY] = decode(fields[_HISTORY])
    return Claim(number, *fields)


def checksum(number: int, packed: bytes) -> int:
    """Return the CRC-32 of what is stored under a number.

    It detects every burst of up to 32 wrong bits, nearly all other damage, and records stored under another number.
    """
    return zlib.crc32(packed, number)


def worst_of(claims: Iterable[Claim]) -> Decimal:
    """Return what the requests of claims may cost at most together, in USD, as far as prices are known."""
    return sum((Decimal(claim.worst_cost or 0) for claim in claims), Decimal(0))


def lost_claims(claims: Iterable[Claim]) -> tuple[list[Event], list[int], Decimal]:
    """Turn the claims that a kill left open into events: each request may have been billed.

    Returns the events, the claims to close, and the maximum total cost in USD.
    """
    events, numbers, worst = [], [], Decimal(0)
    for claim in claims:
        history, at_most = claim.history, None if claim.worst_cost is None else Decimal(claim.worst_cost)
        record = history._replace(
            attempts=history.attempts + 1,
            error_kind="cut_off",
            possibly_billed=at_most,
            tokens=claim.worst_tokens,
            started_at=claim.claimed_at,
            in_doubt=True,
        )
        state = State.ATTEMPTED if history.kept_as is None else State(history.kept_as)
        events.append(
            Event(
                claim.plan,
                claim.position,
                state,
                claim.row_id,
                claim.request_hash,
                claim.settings_id,
                claim.content_key,
                record,
            )
        )
        numbers.append(claim.number)
        worst += at_most or 0
    return events, numbers, worst


def _encode(value: object) -> bytes:
    """Return JSON text in UTF-8, on one line. A lone surrogate becomes U+FFFD."""
    try:
        return _ENCODER.encode(value)
    except (UnicodeEncodeError, OverflowError):
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
        return well_formed(text).encode()
