"""What a row asks under each of a job's settings."""

from __future__ import annotations

from msgspec import Struct

from pipeline.errors import ErrorKind
from pipeline.prompts import Builder, PromptFailure
from pipeline.records import Request, Row, digest, request_hash


class UnsentFailure(Struct, frozen=True):
    """A row that makes no request: its prompt is empty, too long, or cannot be rendered."""

    kind: ErrorKind
    message: str


class Variant(Struct, frozen=True):
    """One way in which a job asks its rows.

    In a sweep, `name` is the variant's name in the output, and `mark` identifies it in the journal. Both are empty
    without one.
    """

    builder: Builder
    endpoint_kind: str
    model: str
    name: str = ""
    mark: str = ""

    def request(self, row: Row, content: str, sample: int = 0) -> tuple[Request | UnsentFailure, str]:
        """Return the request of a row for a sample, and its hash. For a row that makes no request the hash is of its
        content.
        """
        try:
            request = self.builder.request(row)
        except PromptFailure as failure:
            unsent = UnsentFailure(failure.kind, failure.message)
            return unsent, digest(["unsent", self.endpoint_kind, self.model, unsent.kind, content])
        return self.sampled(request, request_hash(self.endpoint_kind, request), sample)

    def sampled(self, first: Request, first_hash: str, sample: int) -> tuple[Request, str]:
        """Return the request of another sample of the row whose first one asks so, and its hash: without a seed, the
        same. A long request takes a while to hash.
        """
        request = self.builder.sampled(first, sample)
        return request, first_hash if request is first else request_hash(self.endpoint_kind, request)
