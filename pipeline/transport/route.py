"""The route to the endpoint: host, port, TLS and proxy, determined once from the URL and the environment."""

from __future__ import annotations

import base64
import os
import ssl
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from pipeline.addresses import is_loopback
from pipeline.errors import InvalidInput
from pipeline.transport.target import DEFAULT_PORTS

CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
LEAN_PROXIES = ("http",)
STANDARD_PROXIES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


class Proxy(Struct, frozen=True):
    """An HTTP proxy; `authorization` is the value of its `Proxy-Authorization` header, or None."""

    host: str
    port: int
    authorization: str | None


class Route(Struct, frozen=True):
    """Where to connect. `tls` is None for plain HTTP. `target` is for the request line, `authority` for Host."""

    host: str
    port: int
    authority: str
    target: str
    tls: ssl.SSLContext | None
    proxy: Proxy | None


def find_route(url: str, path: str) -> Route:
    """Return the route to an absolute http or https URL whose path and query, as sent, are `path`.

    Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (never for loopback) and the certificate bundle's
    variables. Raises InvalidInput if the proxy or the bundle cannot be used.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
    authority = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[parts.scheme]:
        authority = f"{authority}:{port}"
    found = find_proxy(url)
    proxy = None if found is None else Proxy(found.hostname or "", found.port or DEFAULT_PORTS["http"], _login(found))
    tls = tls_context() if parts.scheme == "https" else None
    # Through a proxy plain HTTP asks for the whole address, HTTPS goes through a tunnel (RFC 9112, 3.2.2 and 3.2.3).
    target = f"http://{authority}{path}" if proxy and not tls else path
    return Route(host, port, authority, target, tls, proxy)


def find_proxy(url: str, *, standard: bool = False) -> SplitResult | None:
    """Return the URL of the proxy that the environment names for a URL, or None. Loopback never uses one.

    The standard transport supports more kinds of proxies. Raises InvalidInput for one that cannot be used.
    """
    address = None if is_loopback(urlsplit(url).hostname or "") else _address_of_proxy(url)
    if not address:
        return None
    schemes = STANDARD_PROXIES if standard else LEAN_PROXIES
    try:
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        is_usable = proxy.scheme in schemes and bool(proxy.hostname) and proxy.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        # The address itself may hold a password, so it is not shown.
        variables = "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY"
        raise InvalidInput(f"the proxy set in the environment ({variables}) cannot be used; {_supported(schemes)}")
    if proxy.scheme.startswith("socks") and find_spec("socks") is None:
        raise InvalidInput("a SOCKS proxy needs the package PySocks: pip install 'requests[socks]'")
    return proxy


def _address_of_proxy(url: str) -> str | None:
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # elsewhere the system may name one too
    import requests.utils

    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))


def _supported(schemes: Sequence[str]) -> str:
    if schemes == LEAN_PROXIES:
        return (
            "only http://host:port proxies are supported, and SOCKS and https:// ones by endpoint.transport: standard"
        )
    return f"only {', '.join(schemes)} proxies are supported, as scheme://host:port"


def certificates() -> str:
    """Return the file or directory of trusted certificates that the environment names, else certifi's."""
    import requests.utils

    return next(filter(None, map(os.environ.get, CERTIFICATE_VARIABLES)), requests.utils.DEFAULT_CA_BUNDLE_PATH)


def tls_context() -> ssl.SSLContext:
    """Return a context for all connections: reading a bundle takes milliseconds and a megabyte each time.

    Raises InvalidInput if the certificates cannot be read.
    """
    bundle = certificates()
    try:
        if os.path.isdir(bundle):
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        variable = next((name for name in CERTIFICATE_VARIABLES if os.environ.get(name)), "certifi")
        raise InvalidInput(f"no certificates can be read from {bundle} ({variable}): {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _login(proxy: SplitResult) -> str | None:
    if proxy.username is None:
        return None
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Basic {base64.b64encode(login.encode()).decode('ascii')}"
