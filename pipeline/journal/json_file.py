"""Small JSON files beside the journal. They are conveniences: replaced atomically, never synced."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.records import JsonObject
from pipeline.storage import replacing


def write_json(path: Path, content: JsonObject) -> None:
    """Replace the file with an object, atomically. Raises OSError."""
    with replacing(path, private=True, durable=False) as draft:
        draft.write_text(json.dumps(content), encoding="utf-8")


def read_json(path: Path, most_bytes: int) -> JsonObject:
    """Return the object in the file; an empty one if it is missing, longer than `most_bytes`, or not an object."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(most_bytes))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
