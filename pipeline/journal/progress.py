"""A small file beside the journal that `status` reads while a run holds the journal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE_NAME = "progress.json"


def write_progress(directory: Path, progress: Mapping[str, Any]) -> None:
    """Replace the progress file atomically. It is a convenience, never a fact: it is not synced, and where the disk
    does not take it, it stays as it was. The journal tells of a disk that failed.
    """
    draft = directory / f"{FILE_NAME}.new"
    with suppress(OSError):
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(progress, file)
        draft.rename(directory / FILE_NAME)


def read_progress(directory: Path) -> dict[str, Any] | None:
    """The latest progress; None where there is none that can be read."""
    try:
        found = json.loads((directory / FILE_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
