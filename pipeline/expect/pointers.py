"""References within one JSON document (RFC 6901, as fragments of an address)."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote


def find(document: Any, reference: str) -> Any:
    """Return what a reference of the form `#` or `#/a/b` names. Raises LookupError where there is no such thing."""
    if reference == "#":
        return document
    if not reference.startswith("#/"):
        raise LookupError(reference)
    found = document
    for part in unquote(reference[2:]).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            if not name.isascii() or not name.isdigit():
                raise LookupError(reference)
            found = found[int(name)]
        elif isinstance(found, dict):
            found = found[name]
        else:
            raise LookupError(reference)
    return found


def escaped(name: str) -> str:
    """Return a name as it stands in a reference."""
    return name.replace("~", "~0").replace("/", "~1").replace("%", "%25").replace(" ", "%20")
