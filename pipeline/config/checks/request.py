"""What a job adds to each request by itself: headers, a query, keys of the body, the name of a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import EndpointConfig, JobConfig, ParametersConfig
from pipeline.config.schema import KeyPath
from pipeline.providers import kinds

_KIND, _KEY_VARIABLE = path("endpoint.kind"), path("endpoint.api_key_env")
_HEADER_NAME = re.compile(r"[!#-'*+\-.^-`|~\w]+", re.ASCII)
"""A token of RFC 9110, 5.6.2."""
_UNFIT_VALUE = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]|\A\s|\s\Z")
_OUR_HEADERS = frozenset({"content-type", "content-length", "host"})
_HEADERS_OF_HTTP = frozenset(
    {
        "accept-encoding",
        "connection",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They say how the bytes come and go, which the transport decides."""
_OUR_KEYS = frozenset({"model", "messages", "stream", "stream_options", "n"})


def check_additions(config: JobConfig) -> Iterator[Finding]:
    """Return what is wrong with what a job adds to its requests."""
    endpoint = config.endpoint
    if endpoint.auth is not None and endpoint.api_key_env is None:
        hint = "leave `auth` out, or name the variable that holds the key in `api_key_env`"
        yield Finding(path("endpoint.auth"), "there is no key to send", hint, (_KEY_VARIABLE,))
    elif endpoint.auth is not None:
        yield from _check_auth(endpoint)
    yield from _check_headers(endpoint)
    yield from _check_extra_body(config)
    yield from _check_max_tokens_field(endpoint)
    yield from _check_batch(config)
    if endpoint.stream and not endpoint.provider.streams:
        hint = f"leave it out; only servers of {kinds(lambda one: one.streams)} are known to stream"
        yield Finding(path("endpoint.stream"), f"{endpoint.provider.title} sends no streams", hint, (_KIND,))
    if config.limits.idle_seconds is not None and not endpoint.stream:
        message = "without a stream nothing arrives before the complete reply, which `limits.timeout_seconds` bounds"
        hint = "set `stream: true` below `endpoint:`, or leave it out"
        yield Finding(path("limits.idle_seconds"), message, hint, (path("endpoint.stream"),))


def _check_batch(config: JobConfig) -> Iterator[Finding]:
    endpoint, at = config.endpoint, path("endpoint.batch")
    if endpoint.batch is None:
        return
    if not endpoint.provider.takes_batches:
        hint = f"leave it out; batches are for {kinds(lambda one: one.takes_batches)}"
        yield Finding(at, f"{endpoint.provider.title} has no Batches API", hint, (_KIND,))
    elif len(endpoint.urls) > 1:
        yield Finding(at, "a batch goes to one server", "name one address in `url`", (path("endpoint.url"),))


def _check_auth(endpoint: EndpointConfig) -> Iterator[Finding]:
    assert endpoint.auth is not None
    at, name = path("endpoint.auth.header"), endpoint.auth.header
    if error := _name_error(name) or _taken(name):
        yield Finding(at, error, "the usual ones are `Authorization`, `api-key` and `x-api-key`")
    if _UNFIT_VALUE.search(endpoint.auth.prefix.rstrip(" ")):
        message = "the prefix begins with a space, or holds characters that are not allowed in an HTTP header"
        yield Finding(path("endpoint.auth.prefix"), message, 'write "Bearer ", "" or what the server wants')


def _check_headers(endpoint: EndpointConfig) -> Iterator[Finding]:
    key_header = None
    if endpoint.api_key_env is not None:
        key_header = (endpoint.auth.header if endpoint.auth else "Authorization").lower()
    seen: set[str] = set()
    for name, value in (endpoint.headers or {}).items():
        at: KeyPath = ("endpoint", "headers", name)
        if error := _name_error(name) or _taken(name):
            yield Finding(at, error, "leave it out")
        elif name.lower() == key_header:
            hint = "leave it out; the key comes from `api_key_env`, and `auth` names another header for it"
            yield Finding(at, "the key is sent in this header", hint, (_KEY_VARIABLE, path("endpoint.auth")))
        elif name.lower() in seen:
            yield Finding(
                at, "this header is set already: the names of headers are case-insensitive", "keep one of them"
            )
        elif _UNFIT_VALUE.search(value):
            message = "its value holds characters that are not allowed in an HTTP header, or has whitespace around it"
            yield Finding(at, message, "write it on one line, without whitespace around it")
        seen.add(name.lower())


def _name_error(name: str) -> str | None:
    return None if _HEADER_NAME.fullmatch(name) else "this is not the name of an HTTP header"


def _taken(name: str) -> str | None:
    if name.lower() in _OUR_HEADERS:
        return "the pipeline sets this header itself"
    return "HTTP itself needs this header, and the transport sets it" if name.lower() in _HEADERS_OF_HTTP else None


def _check_extra_body(config: JobConfig) -> Iterator[Finding]:
    field = config.endpoint.max_tokens_field
    for name in config.endpoint.extra_body or {}:
        at: KeyPath = ("endpoint", "extra_body", name)
        if name in _OUR_KEYS:
            yield Finding(at, "the pipeline writes this key itself", "leave it out")
        elif name == field:
            yield Finding(at, "the pipeline writes this key itself", "set `parameters.max_tokens`")
        elif name in ParametersConfig.model_fields and getattr(config.parameters, name) is not None:
            hint = f"keep one of the two: leave out this key or `parameters.{name}`"
            yield Finding(at, f"`parameters.{name}` is set already", hint, (("parameters", name),))


def _check_max_tokens_field(endpoint: EndpointConfig) -> Iterator[Finding]:
    at, name = path("endpoint.max_tokens_field"), endpoint.max_tokens_field
    if name == "max_tokens":
        return
    if not endpoint.provider.renames_max_tokens:
        message = f"{endpoint.provider.title} accepts no other name than `max_tokens`"
        yield Finding(at, message, "leave it out", (_KIND,))
    elif name in _OUR_KEYS or name in ParametersConfig.model_fields:
        yield Finding(at, f"`{name}` means something else", "such as `max_completion_tokens`")
