"""What a store's own library has to do for the program, and what may come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from pipeline.errors import StoreFailed, StoreRefused
from pipeline.storage.interface import Version

CONNECT_SECONDS = 5
READ_SECONDS = 10
PATIENCE_SECONDS = 20.0
"""For so long a call that failed for a passing cause is begun again. With the two above, a step of a run that a store
keeps from ending (a call, what it tidies up then, and a look at what came of it) takes less than a minute.
"""
_Result = TypeVar("_Result")


class Passing(Exception):
    """A call failed for a cause that may pass: no connection, no reply in time, a server's error, too many requests."""


class Conflict(Exception):
    """The object is not, or not any more, the version that the call was for."""


class ObjectFacts(NamedTuple):
    """The version of an object, and what its writer noted of it, by names in small letters."""

    version: Version
    notes: Mapping[str, str]


class Client(Protocol):
    """The calls on the objects of one bucket. Each may raise StoreRefused with the store's words, and Passing."""

    def head(self, key: str) -> ObjectFacts | None:
        """Return what an object is; None where there is none."""

    def read(self, key: str, start: int, length: int, mark: str) -> bytes:
        """Return a part of an object's version, which is within its size. Raises Conflict where it is not any more."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order. What it raises comes with the first one."""

    def put(self, key: str, file: Path, replaced: Version | None, notes: Mapping[str, str]) -> None:
        """Make a file the object, as a whole or not at all, with notes of the writer.

        Raises Conflict where the object is not the version `replaced`, None for no object, if the store can tell.
        """

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""

    def try_to_write(self, key: str) -> None:
        """Begin an upload of the object, and give it up. Raises StoreRefused where that is not allowed."""

    def abandon_uploads(self) -> None:
        """Remove what killed uploads of this machine have left in the store."""


def patiently(what: object, call: Callable[[], _Result]) -> _Result:
    """Call, and call again while it fails for a passing cause. Raises StoreFailed once that has lasted too long."""
    attempts = Retrying(
        retry=retry_if_exception_type(Passing),
        stop=stop_before_delay(PATIENCE_SECONDS),
        wait=wait_random_exponential(0.25, max=5),
        reraise=True,
    )
    try:
        return attempts(call)
    except Passing as error:
        raise StoreFailed(f"{what}: the store cannot be used now: {error}") from error


@contextmanager
def refused_if_missing(what: object) -> Iterator[None]:
    """Raise StoreRefused for a KeyError, where what is missing can only be the bucket itself."""
    try:
        yield
    except KeyError as error:
        raise StoreRefused(f"{what}: the store refuses: {error.args[0]}") from error
