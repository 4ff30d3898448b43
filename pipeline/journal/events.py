"""What the journal holds: one event for each thing that happened to a row, and the claims of requests under way.

Events are facts. They are only ever appended; what stands for a row is its latest event.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class State(IntEnum):
    """Where an event leaves its row. The numbers are stored; a plan keeps one for each row."""

    NEW = 0
    """Never sent (no event has this state)."""
    ATTEMPTED = 1
    """Sent, without an outcome so far: an attempt that will be tried again, or one cut off by a kill."""
    ANSWERED = 2
    UNPRICED = 3
    """Answered, and what it cost is not known."""
    FAILED_PASSING = 4
    """Failed for a cause that may have passed at the next run."""
    FAILED = 5
    """Failed for a cause that lies in the row."""
    ADOPTED = 6
    """Took over the answer of the event that the record's `source` names."""
    ADOPTED_UNPRICED = 7


ANSWERS = (State.ANSWERED, State.UNPRICED)
ADOPTIONS = (State.ADOPTED, State.ADOPTED_UNPRICED)
FAILURES = (State.FAILED_PASSING, State.FAILED)


@dataclass(frozen=True, slots=True)
class Event:
    """One fact about a row. `position` is the row's place in the input under plan number `plan`, as a cache: identity
    is `row_id` and `request_hash`. `content` is the key of all the row's input columns. `record` is a JSON object.
    """

    plan: int
    position: int
    state: State
    row_id: str
    request_hash: str
    settings: int
    content: str
    record: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that is about to be sent, recorded before it is. `history` is what was known of the row before;
    `worst_cost` (USD, exact decimal text) is the dearest that the request can be, None where prices are unknown.
    """

    number: int
    plan: int
    position: int
    row_id: str
    request_hash: str
    settings: int
    content: str
    claimed_at: float
    worst_cost: str | None
    worst_tokens: int
    history: Mapping[str, Any] = field(repr=False)


def encode(value: object) -> bytes:
    """JSON text as the journal stores it. A lone surrogate becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def checksum(columns: Sequence[object]) -> int:
    """CRC-32 over a row's columns; it finds every burst of up to 32 wrong bits, and nearly all other damage."""
    *head, last = columns
    return zlib.crc32(last if isinstance(last, bytes) else str(last).encode(), zlib.crc32(repr(head).encode()))
