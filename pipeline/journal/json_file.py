"""Small JSON files beside the journal: conveniences that are replaced whole and never synced."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draft_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write an object beside the path, for its owner alone, and return where it is. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    return draft


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file by an object, whole or not at all. Raises OSError."""
    draft_json(path, content).rename(path)


def read_json(path: Path, most_bytes: int) -> dict[str, Any]:
    """Return the object in the file; an empty one where it is missing, longer than so many bytes, or no object."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(most_bytes))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
