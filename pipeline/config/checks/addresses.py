"""Addresses of servers, and whether secrets may go there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pipeline.addresses import is_loopback
from pipeline.config.checks.findings import Finding, path
from pipeline.config.models import JobConfig

_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")


def address_error(url: str) -> str | None:
    """Return why a text is not an absolute http or https address; None if it is one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "this is not an address"
    if parts.scheme not in ("http", "https"):
        return "an address begins with https:// or http://"
    if not host or not _HOST.fullmatch(host) or not url.isascii() or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        return "this is not the address of a server"
    return None


def shown_address(url: str) -> str:
    """Return an address as it may appear in a log: without a password or a query, which may be secrets."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def is_exposed(url: str) -> bool:
    """Return whether what is sent to an address crosses a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def check_observers(config: JobConfig) -> Iterator[Finding]:
    """Yield what is wrong with the addresses that hear of runs."""
    notify, telemetry = config.notify, config.telemetry
    yield from _check_secret("notify", "ping_url", notify.ping_url, allow_http=notify.allow_insecure_http)
    yield from _check_secret("notify", "webhook_url", notify.webhook_url, allow_http=notify.allow_insecure_http)
    yield from _check_secret("telemetry", "otlp", telemetry.otlp, allow_http=telemetry.allow_insecure_http)


def _check_secret(section: str, name: str, url: str | None, *, allow_http: bool) -> Iterator[Finding]:
    if url is None:
        return
    if error := address_error(url):
        yield Finding((section, name), error, "write a full address that begins with https://")
    elif is_exposed(url) and not allow_http:
        yield Finding(
            (section, name),
            "the address, which is a secret, would go over the network unencrypted",
            f"use https://, or set `allow_insecure_http: true` below `{section}:` where the network is trusted",
            (path(f"{section}.allow_insecure_http"),),
        )
