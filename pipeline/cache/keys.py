"""When a cache treats two requests as the same: nothing that could make their answers differ is different."""

from __future__ import annotations

from msgspec import Struct

from pipeline.records import Request, digest

_VERSION = 1


class CacheKeys(Struct, frozen=True):
    """Names requests to one endpoint. `address` is the server's, None for a list of equal servers."""

    address: str | None
    simulated: bool

    def key(self, request_hash: str) -> str:
        """Return the key of a request; its hash covers the endpoint's kind, the model and all that is asked."""
        return digest([_VERSION, request_hash, self.address, self.simulated])

    @staticmethod
    def number(request: Request, sample: int) -> int:
        """Return which of the answers to a request a sample takes, from 0. With a seed each sample has a request of
        its own.
        """
        return 0 if "seed" in request.parameters else sample
