"""The way to the endpoint: host, port, TLS and proxy, settled once from the URL and the environment."""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import requests.utils

from pipeline.addresses import is_loopback
from pipeline.errors import InvalidInput

DEFAULT_PORTS = {"http": 80, "https": 443}
CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of its `Proxy-Authorization` header, or None."""

    host: str
    port: int
    authorization: str | None


@dataclass(frozen=True, slots=True)
class Route:
    """Where to connect. `tls` is None for plain HTTP; `target` is the request line's, `authority` the Host header's."""

    host: str
    port: int
    authority: str
    target: str
    tls: ssl.SSLContext | None
    proxy: Proxy | None


def find_route(url: str, path: str) -> Route:
    """The route to an absolute http or https URL whose path and query, as sent, is `path`.

    Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (never for loopback) and the certificate bundle's
    variables. Raises InvalidInput where the URL, the proxy or the bundle is unusable.
    """
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise InvalidInput("the endpoint's URL must be an absolute http:// or https:// address")
    host, port = parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]
    authority = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[parts.scheme]:
        authority = f"{authority}:{port}"
    proxy = None if is_loopback(host) else _proxy_from_environment(url)
    tls = _tls_from_environment() if parts.scheme == "https" else None
    # Through a proxy plain HTTP asks for the whole address, HTTPS goes through a tunnel (RFC 9112, 3.2.2 and 3.2.3).
    target = f"http://{authority}{path}" if proxy and not tls else path
    return Route(host, port, authority, target, tls, proxy)


def _proxy_from_environment(url: str) -> Proxy | None:
    address = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    if not address:
        return None
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port or DEFAULT_PORTS["http"]
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        # The address itself may hold a password, so it is not shown.
        raise InvalidInput(
            "the proxy set in the environment (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) cannot be used; "
            "only http://host:port proxies are supported"
        )
    authorization = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(login.encode()).decode('ascii')}"
    return Proxy(host, port, authorization)


def _tls_from_environment() -> ssl.SSLContext:
    """One context for all connections: reading a bundle takes milliseconds and a megabyte each time."""
    variable = next((name for name in CERTIFICATE_VARIABLES if os.environ.get(name)), None)
    bundle = os.environ[variable] if variable else requests.utils.DEFAULT_CA_BUNDLE_PATH
    try:
        if os.path.isdir(bundle):
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise InvalidInput(f"no certificates can be read from {bundle} ({variable or 'certifi'}): {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context
