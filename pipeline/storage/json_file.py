"""A JSON file that a job names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOST_BYTES = 16 * 2**20


def read_json(path: Path) -> Any:
    """Return what a file holds; only its beginning is read where it is too large, since a device has no end.

    Raises:
        OSError: it cannot be read.
        ValueError, RecursionError: it is not JSON, or larger than 16 MiB.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError("it is larger than 16 MiB")
    return json.loads(content.decode("utf-8-sig"))
