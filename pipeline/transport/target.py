"""What every request has: the address, and headers, both checked once.

`requests` prepares an address as people know it from there: names beyond ASCII, escapes, dots in paths. Importing it
takes a tenth of a small run, so an address in which it would change nothing is taken as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from pipeline.errors import InvalidInput

DEFAULT_PORTS = {"http": 80, "https": 443}
DEFAULT_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "llm-batch-pipeline"}

_PLAIN = re.compile(
    r"https?://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,3}|:[1-5][0-9]{4})?"  # no port that may be too large
    r"(/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*)?)"
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[^\s\0](?:[^\r\n\0]*[^\s\0])?|")  # RFC 9110, 5.5


class Target(Struct, frozen=True):
    """An absolute address, its path and query as sent, and the headers."""

    url: str
    path: str
    headers: dict[str, str]


def target_of(url: str, headers: Mapping[str, str]) -> Target:
    """Return what every request has. Of headers of one name, in whatever case, the last counts, default ones first.

    Raises InvalidInput for what cannot be sent.
    """
    last = {name.lower(): (name, value) for name, value in (*DEFAULT_HEADERS.items(), *headers.items())}
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or not _is_latin_1(value):
            raise InvalidInput(
                "a header holds characters that HTTP cannot carry; look for a line break or a blank at its ends, "
                "or non-ASCII characters, in the API key"
            )
    plain = _PLAIN.fullmatch(url)
    address, path = _prepared(url) if plain is None else (url, plain[1])
    return Target(address, path, dict(last.values()))


def _is_latin_1(value: str) -> bool:
    return max(value, default="") <= "\xff"


def _prepared(url: str) -> tuple[str, str]:
    import requests

    request = requests.PreparedRequest()
    try:
        request.prepare_url(url, None)
        if urlsplit(request.url or "").scheme not in DEFAULT_PORTS:
            raise ValueError
    except (requests.RequestException, ValueError):
        raise InvalidInput("the endpoint's URL must be an absolute http:// or https:// address") from None
    return str(request.url), request.path_url
