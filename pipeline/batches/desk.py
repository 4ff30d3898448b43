"""What everything that has to do with batches works with."""

from __future__ import annotations

from msgspec import Struct

from pipeline.batches.api import BatchApi
from pipeline.batches.book import Book
from pipeline.batches.calls import Calls


class Desk(Struct, frozen=True):
    """The book of the lines that are out, the provider, and how it is called; it is asked for news every
    `poll_seconds`.
    """

    book: Book
    api: BatchApi
    calls: Calls
    poll_seconds: float
