"""The plan: the state of each row, in eight bytes per row."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from pipeline.journal import ADOPTIONS, Event, State
from pipeline.journal.places import EventPlaces
from pipeline.plan.blocks import Blocks
from pipeline.plan.cells import with_occurrence
from pipeline.plan.keys import KeyFile
from pipeline.sources import Mark

_ROWS_PER_CHUNK = 65_536
STATE_BITS = 4
"""A row takes so many bits for its state, below the number of its event."""
_MASK = (1 << STATE_BITS) - 1


SUCCEEDED = (
    State.ANSWERED,
    State.UNPRICED,
    State.ADOPTED,
    State.ADOPTED_UNPRICED,
    State.TRUNCATED,
)
WITHOUT_PRICE = (State.UNPRICED, State.ADOPTED_UNPRICED)
FAILED = (State.FAILED_PASSING, State.FAILED, State.RETRY)
TO_SEND = (State.NEW, State.ATTEMPTED, State.CHANGED, State.RETRY, State.TRUNCATED)


class Counts(Struct, frozen=True):
    """The number of rows by what the plan does with them. `orphaned` counts answers in the journal that belong to no
    row.
    """

    total: int
    done: int
    new: int
    changed: int
    to_retry: int
    orphaned: int


class KnownFile(Struct, frozen=True):
    """A file of the input, by its facts, and how many rows it has.

    `marks` are places where its reading can begin, and `beginning` is a digest of all before the last one; empty if it
    has none.
    """

    facts: list[object]
    rows: int
    marks: tuple[Mark, ...] = ()
    beginning: str = ""


class Inventory(Struct, frozen=True):
    """What the next plan needs in order to know the rows of this one again.

    `rules` identify the settings, and how the input is read; `columns` are those in which it is read. `files` are all
    files, or none where their rows are not known. `blocks` and `keys` are of the input's rows. `is_settled`: each
    answer and each failure that was recorded before the plan belongs to a row of it, which asks that very request.
    """

    rules: str
    columns: str
    files: tuple[KnownFile, ...]
    blocks: Blocks
    keys: KeyFile
    is_settled: bool


class Plan:
    """The state of each row, and the number of the event that tells it.

    `fingerprint` identifies the input and the settings that the plan was made for, `digest` the rows in their order.
    Positions count from 0. `repeated` holds the positions of rows whose content occurred before, `occurrences` how
    often, themselves included. `inventory` is kept with the plan's file, and let go of by a run.
    """

    def __init__(
        self,
        *,
        number: int,
        fingerprint: str,
        digest: str,
        latest: npt.NDArray[np.uint64],
        repeated: npt.NDArray[np.uint32],
        occurrences: npt.NDArray[np.uint32],
        orphaned: int,
        kept_empty: bool = False,
        inventory: Inventory | None = None,
    ) -> None:
        self.number = number
        self.fingerprint = fingerprint
        self.digest = digest
        self.orphaned = orphaned
        self.kept_empty = kept_empty
        self.inventory = inventory
        self.latest = latest
        self.repeated = repeated
        self.occurrences = occurrences
        self._counts: list[int] | None = None  # rows by state, kept up to date once asked for
        self._sharers: tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.latest)

    # ---- one row

    def state(self, position: int) -> State:
        """Return the state of a row."""
        return State(int(self.latest[position]) & _MASK)

    def event(self, position: int) -> int:
        """Return the number of the event that tells it; 0 if there is none."""
        return int(self.latest[position]) >> STATE_BITS

    def put(self, position: int, event: int, state: int) -> None:
        """Set the state of a row, and the event that tells it; with the state SHARED `event` is the position of the row
        that pays.
        """
        if state == State.SHARED:
            self._sharers = None
        if self._counts is not None:
            self._counts[int(self.latest[position]) & _MASK] -= 1
            self._counts[state] += 1
        self.latest[position] = (event << STATE_BITS) | state

    def put_all(
        self, positions: npt.NDArray[np.int64], events: npt.NDArray[np.int64], states: npt.NDArray[np.int64]
    ) -> None:
        """Set the states of rows as `put` does, but for SHARED; of several for one row the last one counts."""
        self._counts = None
        self.latest[positions] = (events << STATE_BITS) | states

    def unsettle(self) -> None:
        """Note that an answer no longer belongs to its row; see `Inventory`."""
        if self.inventory is not None:
            self.inventory = replace(self.inventory, is_settled=False)

    def mark(self, position: int, state: State) -> None:
        """Set the state of a row, and keep its event."""
        self.put(position, self.event(position), state)

    def row_ids(self, positions: Sequence[int] | range, ids: Sequence[str]) -> list[str]:
        """Return the ids of the rows at `positions`, made unique: the n-th occurrence of a content gets `#n`, from the
        second on.
        """
        unique = list(ids)
        if len(self.repeated):
            # Of the array's own type, because otherwise the whole array would be converted each time.
            found = np.searchsorted(self.repeated, np.asarray(positions, np.uint32))
            for at, (position, index) in enumerate(zip(positions, found, strict=True)):
                if index < len(self.repeated) and self.repeated[index] == position:
                    unique[at] = with_occurrence(unique[at], self.occurrences[index])
        return unique

    # ---- many rows

    def states(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        """Return the state of each row from `start` to before `stop`."""
        # The lowest byte first: one byte per row, where masking would copy eight.
        return self.latest[start:stop].astype(np.uint8) & np.uint8(_MASK)

    def events(self, start: int, stop: int) -> npt.NDArray[np.uint64]:
        """Return the event numbers of the rows from `start` to before `stop`."""
        return self.latest[start:stop] >> np.uint64(STATE_BITS)

    def which(self, states: Iterable[State]) -> npt.NDArray[np.bool_]:
        """Return for each row whether it is in one of these states."""
        found = np.empty(len(self), np.bool_)
        for start, part in self._parts(states):
            found[start : start + len(part)] = part
        return found

    def positions(self, states: Iterable[State]) -> Iterator[list[int]]:
        """Yield the positions of all rows in these states, in input order, in lists of bounded size."""
        for start, part in self._parts(states):
            yield (np.flatnonzero(part) + start).tolist()

    def _parts(self, states: Iterable[State]) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        """Yield one part at a time, because `isin` takes more than ten bytes per row."""
        wanted = [int(one) for one in states]
        for start in range(0, len(self), _ROWS_PER_CHUNK):
            yield start, np.isin(self.states(start, start + _ROWS_PER_CHUNK), wanted)

    def count(self, *states: State) -> int:
        """Return how many rows are in these states."""
        if self._counts is None:
            by_state = np.zeros(_MASK + 1, np.int64)
            for start in range(0, len(self), _ROWS_PER_CHUNK):
                by_state += np.bincount(self.states(start, start + _ROWS_PER_CHUNK), minlength=_MASK + 1)
            self._counts = by_state.tolist()
        return sum(self._counts[one] for one in states)

    def rows(self, *states: State) -> int:
        """Return how many rows come to one of these states: those in it, and those that share their outcome."""
        payers, numbers = self._shared()
        wanted = np.isin(self.latest[payers].astype(np.uint8) & np.uint8(_MASK), [int(one) for one in states])
        return self.count(*states) + int(numbers[wanted].sum())

    def sharers(self, position: int) -> int:
        """Return how many rows share the outcome of the row at a position."""
        payers, numbers = self._shared()
        at = np.searchsorted(payers, np.uint64(position))
        return int(numbers[at]) if at < len(payers) and payers[at] == position else 0

    def _shared(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return the positions of the rows that pay for others, in order, and for how many each does."""
        if self._sharers is None:
            shared = [self.latest[positions] >> np.uint64(STATE_BITS) for positions in self.positions([State.SHARED])]
            payers, numbers = np.unique(np.concatenate([np.zeros(0, np.uint64), *shared]), return_counts=True)
            self._sharers = payers, numbers
        return self._sharers

    def keeps_answers(self) -> bool:
        """Return whether there may be answers, or an output, that were kept because `run` was told to."""
        return self.kept_empty or self.count(State.ADOPTED, State.ADOPTED_UNPRICED) > 0

    def counts(self) -> Counts:
        """Return the number of rows by what the plan does with them."""
        return Counts(
            total=len(self),
            done=self.rows(*SUCCEEDED),
            new=self.rows(State.NEW, State.ATTEMPTED),
            changed=self.rows(State.CHANGED),
            to_retry=self.rows(State.RETRY),
            orphaned=self.orphaned,
        )

    def apply(self, events: Iterable[EventPlaces]) -> None:
        """Bring the plan up to date with every event that was recorded under its number, oldest first."""
        for places in events:
            own = places.plans == self.number
            told_by = np.where(places.sources > 0, places.sources, places.numbers)
            self.put_all(places.positions[own], told_by[own], places.states[own])

    def take(self, first: int, events: Iterable[Event]) -> None:
        """Add events as they are committed; `first` is the number of the first one."""
        for seq, event in enumerate(events, first):
            if event.plan == self.number:
                self.put(event.position, event.record.source if event.state in ADOPTIONS else seq, event.state)

    def state_digest(self) -> str:
        """Return a digest of the rows and their results: the same if the output would be the same."""
        crc = 0
        for start in range(0, len(self), _ROWS_PER_CHUNK):
            settled = self.latest[start : start + _ROWS_PER_CHUNK].copy()
            # An outcome reads the same, whether or not it is retried, or was reused.
            settled[np.isin(self.states(start, start + _ROWS_PER_CHUNK), (*SUCCEEDED, *FAILED))] &= ~np.uint64(_MASK)
            crc = zlib.crc32(settled.data, crc)
        return f"{self.digest}-{crc:08x}"
