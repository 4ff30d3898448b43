"""What every provider is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from pipeline.providers.parameters import ParameterValues
from pipeline.providers.stream import Assembly
from pipeline.records import Failure, JsonObject, Reply, Request

if TYPE_CHECKING:  # a process that only sends does without the catalogue
    from pipeline.catalogue import Model


class Endpoint(Protocol):
    """A wire form at one address: a request as JSON, a reply as one typed value. Has no state, so it is safe from many
    threads.
    """

    @property
    def kind(self) -> str:
        """The provider's name; part of each request's hash."""

    @property
    def url(self) -> str:
        """The full address to POST to."""

    @property
    def turned_away(self) -> frozenset[int]:
        """Statuses that say, where they come at once and without a body, that a request was not begun."""

    def payload(self, request: Request) -> JsonObject:
        """Return the body to send, as a JSON value."""

    def assembly(self, status: int, headers: Mapping[str, str]) -> Assembly | None:
        """Return what puts the reply with this head together, where it comes as a stream of events; else None."""

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply | Failure:
        """Return the typed result of a whole response. Never raises, whatever the bytes. Does not read Retry-After."""

    def read(self, status: int, document: object) -> Reply | Failure:
        """Return the same of a response whose body is a JSON value already. Never raises."""


class WireSettings(Struct, frozen=True):
    """How a job wants its requests written and its replies read. `url` holds the job's query too.

    A provider that has no use for a setting ignores it: the config has refused it before.
    """

    url: str
    max_tokens_field: str = "max_tokens"
    splits_reasoning: bool = False
    """Whether the text up to `</think>` is reasoning, and no part of the response."""
    streams: bool = False


class Provider(Struct, frozen=True):
    """All that sets a provider apart; nothing else in the program asks which one it is."""

    name: str
    """The word of `endpoint.kind`; part of each request's hash."""
    title: str
    """The name as people write it."""
    wire: Callable[[WireSettings], Endpoint]
    parameters: Mapping[str, ParameterValues]
    """The parameters that it documents, each with what it may be."""
    embedded_path: str
    """Where the embedded endpoint speaks as this provider does, below its address."""
    url: str = ""
    """The address where a job gives none; empty if a job has to give one."""
    key_variable: str = ""
    """The environment variable that usually holds its key; empty if none is usual."""
    needs_key: bool = False
    lists_models: bool = False
    """Whether the catalogue has its models: their names, windows, ranges and prices."""
    takes_servers: bool = False
    """Whether it may be several equal servers."""
    streams: bool = False
    """Whether it can send a reply as a stream of events."""
    shows_load: bool = False
    """Whether its servers may say how much they have in flight and waiting."""
    takes_batches: bool = False
    """Whether it may have a Files and a Batches API."""
    renames_max_tokens: bool = False
    """Whether it may want another name for `max_tokens`."""

    schema_form: Callable[[JsonObject], JsonObject] | None = None
    """What makes of a schema the value of the body's key `response_format`; None if it has no such form."""
    always_takes_schemas: bool = False
    """Whether it takes schemas whatever the model; else the catalogue marks the models."""

    def ranges(self, model: Model | None) -> Mapping[str, ParameterValues]:
        """Return what each parameter may be: of those that the model documents, where that is known."""
        if model is None or not model.parameters:
            return self.parameters
        return {name: values for name, values in self.parameters.items() if name in model.parameters}
