"""Small JSON files beside the journal: conveniences that are replaced whole and never synced."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.records import JsonObject
from pipeline.storage import replacing


def write_json(path: Path, content: JsonObject) -> None:
    """Replace the file by an object, whole or not at all. Raises OSError."""
    with replacing(path, private=True, durable=False) as draft:
        draft.write_text(json.dumps(content), encoding="utf-8")


def read_json(path: Path, most_bytes: int) -> JsonObject:
    """Return the object in the file; an empty one where it is missing, longer than so many bytes, or no object."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(most_bytes))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
