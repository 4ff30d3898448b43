"""The endpoint's address, and which key may go there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from pipeline.addresses import is_loopback
from pipeline.config.checks.addresses import address_error, is_exposed
from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import SIMULATOR_URL, EndpointConfig
from pipeline.providers import DEFAULT, kinds

_URL, _KEY_VARIABLE, _KIND = path("endpoint.url"), path("endpoint.api_key_env"), path("endpoint.kind")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_KEY_IN_URL = "leave it out; name the environment variable that holds the key in `api_key_env`"


def check_endpoint(endpoint: EndpointConfig) -> Iterator[Finding]:
    """Yield what is wrong with the address, and with sending the key there."""
    if endpoint.api_key_env is not None and not _VARIABLE_NAME.fullmatch(endpoint.api_key_env):
        yield Finding(
            _KEY_VARIABLE,
            "this is not the name of an environment variable",
            f"put the key into a variable and write its name, such as {DEFAULT.key_variable}; never the key itself",
        )
    provider = endpoint.provider
    if endpoint.api_key_env is None and provider.needs_key and not _is_on_this_machine(endpoint):
        hint = "name the variable that holds the key; the embedded endpoint, `url: simulator`, needs none"
        yield Finding(_KEY_VARIABLE, f"{provider.title} accepts no request without a key", hint, (_KIND,))
    if not provider.url and "url" not in endpoint.model_fields_set:
        message = f"`kind: {provider.name}` needs the server's address"
        yield Finding(_URL, message, "add `url: https://api.example.com/v1` below `endpoint:`", (_KIND,))
    elif not endpoint.is_simulator:
        errors = [error for index in range(len(endpoint.urls)) for error in _address_errors(endpoint, index)]
        yield from errors or _key_errors(endpoint)
    if len(endpoint.urls) > 1 and not provider.takes_servers:
        hint = f"name one address, or set {kinds(lambda one: one.takes_servers)}"
        yield Finding(_URL, f"{provider.title} is one server", hint, (_KIND,))


def api_key(endpoint: EndpointConfig, environ: Mapping[str, str]) -> str | None:
    """Return the key to send, from the variable that the endpoint names.

    None if no key is sent: to the simulator, with `api_key_env: null`, and where the variable is unset or empty. The
    last is an error that `key_findings` reports, except for an OpenAI-compatible server on this machine.
    """
    if endpoint.is_simulator or endpoint.api_key_env is None:
        return None
    return environ.get(endpoint.api_key_env) or None


def key_findings(endpoint: EndpointConfig, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with the key in the environment. The key itself is never shown."""
    if endpoint.is_simulator or endpoint.api_key_env is None:
        return
    named = endpoint.api_key_env
    # A key that was written in place of a name can look like a name; only what is usual is repeated.
    name = f"environment variable {named}" if _SHOWN_NAME.fullmatch(named) else "environment variable named here"
    key = environ.get(named)
    if not key:
        if not _may_go_without_key(endpoint):
            state = "not set" if key is None else "empty"
            shell = f"export {named}=…" if _SHOWN_NAME.fullmatch(named) else "export it"
            hint = f"put the key into it: {shell}"
            if _is_of_another(endpoint):
                hint = "name the variable that holds this server's key, or null where it needs none"
            yield Finding(_KEY_VARIABLE, f"the {name} is {state}", hint)
    elif key != key.strip():
        yield Finding(_KEY_VARIABLE, f"the {name} has whitespace around the key", "remove it")
    elif not _fits_header(key):
        message = f"the {name} holds characters that are not allowed in an HTTP header"
        yield Finding(_KEY_VARIABLE, message, "copy the key again, on one line")


def key_note(endpoint: EndpointConfig, environ: Mapping[str, str]) -> str | None:
    """Return where the default provider's key goes, if that is a server of others and the job does not say so."""
    hosts = dict.fromkeys(urlsplit(url).hostname or "" for url in endpoint.urls)
    is_named = "api_key_env" in endpoint.model_fields_set
    others = [host for host in hosts if host != urlsplit(DEFAULT.url).hostname and not is_loopback(host)]
    if is_named or not others or api_key(endpoint, environ) is None:
        return None
    return f"the key in {endpoint.api_key_env} goes to {' and '.join(others)}"


def _address_errors(endpoint: EndpointConfig, index: int) -> Iterator[Finding]:
    url = endpoint.urls[index]
    at = _URL if isinstance(endpoint.url, str) else (*_URL, index)
    if error := address_error(url):
        yield Finding(at, error, f"write a full address, such as {DEFAULT.url}, or `{SIMULATOR_URL}`")
    elif "@" in urlsplit(url).netloc:
        yield Finding(at, "an address cannot hold a user or password", _KEY_IN_URL)
    elif "?" in url or "#" in url:
        hint = f"{_KEY_IN_URL}; any other part of a query goes into `query`"
        yield Finding(at, "an address cannot hold a query (`?…`) or fragment (`#…`)", hint)
    elif _plain(url) in map(_plain, endpoint.urls[:index]):
        yield Finding(at, "this server is listed already", "list each server once")


def _plain(url: str) -> str:
    """Return the address without what makes no difference."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{path}"


def _key_errors(endpoint: EndpointConfig) -> Iterator[Finding]:
    if endpoint.api_key_env is not None and any(map(is_exposed, endpoint.urls)) and not endpoint.allow_insecure_http:
        yield Finding(
            _URL,
            "the key would go over the network unencrypted",
            "use https://, or set `allow_insecure_http: true` below `endpoint:` where the network is trusted",
            (_KEY_VARIABLE, path("endpoint.allow_insecure_http")),
        )


def _is_on_this_machine(endpoint: EndpointConfig) -> bool:
    """Return whether every server runs on this machine: the user's own, or one that only imitates the provider,
    such as a mock.
    """
    return all(is_loopback(urlsplit(url).hostname or "") for url in endpoint.urls)


def _is_of_another(endpoint: EndpointConfig) -> bool:
    """Return whether the variable is that of the default provider, unnamed, and the endpoint is of another kind."""
    return endpoint.provider is not DEFAULT and "api_key_env" not in endpoint.model_fields_set


def _may_go_without_key(endpoint: EndpointConfig) -> bool:
    is_named = "api_key_env" in endpoint.model_fields_set
    return not endpoint.provider.needs_key and not is_named and _is_on_this_machine(endpoint)


def _fits_header(key: str) -> bool:
    try:
        key.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return not any(unicodedata.category(character) == "Cc" for character in key)
