"""What every kind of endpoint gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pipeline.endpoints.stream import Assembly
from pipeline.records import Failure, Reply, Request


class Endpoint(Protocol):
    """A wire form. Has no state, so it is safe from many threads."""

    @property
    def kind(self) -> str:
        """The word of `endpoint.kind`; part of each request's hash."""

    @property
    def url(self) -> str:
        """The whole address to POST to."""

    def payload(self, request: Request) -> dict[str, Any]:
        """The body to send, as a JSON value."""

    def assembly(self, status: int, headers: Mapping[str, str]) -> Assembly | None:
        """What puts the reply with this head together, where it comes as a stream of events; else None."""

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply | Failure:
        """The typed result of a whole response. Never raises, whatever the bytes. Retry-After is not read here."""
