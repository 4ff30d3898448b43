"""Where the rows of many events are, read at once: a plan of known rows needs nothing else of a journal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.json import decode as from_json

from pipeline.journal.events import ADOPTIONS

_NUMBERS_BEFORE_ID = 3


class EventPlaces(Struct, frozen=True):
    """Events that follow each other, from number `first` on: an array for each field of their heads (`EventHead`)."""

    first: int
    plans: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    states: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The number of each event."""
        return np.arange(self.first, self.first + len(self.plans))


def places_of(first: int, packed: Sequence[bytes]) -> EventPlaces:
    """Return the places of packed events, the first of which has number `first`. Raises ValueError at a damaged one."""
    # A head is `[plan,position,state,"row id",…`.
    numbers = b",".join([one[1 : one.index(b',"')] for one in packed])
    found = np.fromstring(numbers.decode("ascii"), np.int64, sep=",")
    if len(found) != _NUMBERS_BEFORE_ID * len(packed):
        raise ValueError("the head of an event is damaged")
    plans, positions, states = found.reshape(-1, _NUMBERS_BEFORE_ID).T
    sources = np.zeros(len(packed), np.int64)
    for at in np.flatnonzero(np.isin(states, ADOPTIONS)).tolist():
        sources[at] = from_json(packed[at][: packed[at].index(b"\n")])[-1]
    return EventPlaces(first, plans, positions, states, sources)
