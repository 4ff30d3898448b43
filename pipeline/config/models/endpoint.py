"""`endpoint`: who is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.config.models.batch import BatchConfig
from pipeline.config.models.section import Section
from pipeline.config.models.values import OneOrManyUrls, SentJson, Text
from pipeline.providers import DEFAULT, PROVIDERS, Provider

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(PROVIDERS)]

SIMULATOR_URL = "simulator"


class AuthConfig(Section):
    """How the key is sent."""

    header: Text = Field(default="Authorization", description="The header that carries the key.")
    prefix: str = Field(default="Bearer ", description="What comes before the key.")


class EndpointConfig(Section):
    """Who is asked."""

    kind: Kind = Field(
        default=DEFAULT.name, description="`dataoorts`, or `openai` for any OpenAI-compatible chat/completions server."
    )
    url: OneOrManyUrls = Field(
        default=DEFAULT.url,
        description="The server's address, or for `openai` a list of equal servers behind one queue; for `openai` its "
        "base (…/v1) or the full address; `simulator` for the embedded endpoint, which needs no key and no network.",
    )
    model: Text = Field(
        description="The model's name, as the server knows it.", examples=["meta/llama-4-scout-17b-16e-instruct"]
    )
    api_key_env: str | None = Field(
        default=DEFAULT.key_variable,
        description="The environment variable that holds the key, never the key itself; null for a server without one.",
    )
    allow_insecure_http: bool = Field(
        default=False, description="Whether the key may go over plain http:// to another machine."
    )
    auth: AuthConfig | None = Field(
        default=None, description="How the key is sent; without it, as `Authorization: Bearer KEY`."
    )
    headers: dict[str, str] | None = Field(
        default=None,
        repr=False,
        description="More headers for every request. Their values are secrets and shown nowhere.",
        examples=[{"X-Team": "${TEAM}"}],
    )
    query: dict[str, str] | None = Field(
        default=None,
        description="Query parameters for the address of every request.",
        examples=[{"api-version": "2026-05-01"}],
    )
    extra_body: SentJson | None = Field(
        default=None,
        description="More keys for the body of every request, sent unchanged (to Dataoorts within `data`). They are "
        "part of the request: with another value, finished rows count as changed.",
        examples=[{"chat_template_kwargs": {"enable_thinking": False}}],
    )
    max_tokens_field: Text = Field(
        default="max_tokens",
        description="The name under which a server of `kind: openai` takes `parameters.max_tokens`.",
        examples=["max_completion_tokens"],
    )
    stream: bool = Field(
        default=False,
        description="Whether the reply comes as a stream of events, which is assembled here: long answers then "
        "survive gateways that cut idle connections. Not for Dataoorts.",
    )
    batch: BatchConfig | None = Field(
        default=None,
        description="Buys by the provider's Files and Batches API, usually at half the price; answers may take hours.",
        examples=[{"window": "24h"}],
    )
    reasoning: Literal["auto", "split", "keep"] = Field(
        default="auto",
        description="What happens to reasoning in the answer's text, up to `</think>`: `auto` moves it to "
        "the column `reasoning` for models that the catalogue marks, `split` for every model, `keep` for none.",
    )
    transport: Literal["lean", "standard"] = Field(
        default="lean",
        description="What carries the requests: `lean`, or `standard` for a session of the requests library, which "
        "also knows SOCKS and https:// proxies, takes more CPU and has 256 requests in flight at most.",
    )

    @property
    def provider(self) -> Provider:
        """What is known of the provider."""
        return PROVIDERS[self.kind]

    @property
    def is_simulator(self) -> bool:
        """Whether the embedded endpoint answers."""
        return self.urls == (SIMULATOR_URL,)

    @property
    def urls(self) -> tuple[str, ...]:
        """The address of each server."""
        return (self.url,) if isinstance(self.url, str) else self.url
