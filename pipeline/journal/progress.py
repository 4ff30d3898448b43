"""A small file beside the journal that `status` reads while a run holds the journal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.journal.facts import is_amount, is_count, is_moment, is_number, is_text

FILE_NAME = "progress.json"
_MOST_BYTES = 2**20
_MOMENTS = frozenset(("updated_at", "last_progress_at"))
_TEXTS = frozenset(("job", "run_id", "status", "output"))
_KINDS = frozenset(("failures", "accepted", "to_retry"))
_TROUBLE = ("where", "cause", "failures", "seconds", "gives_up_in_seconds")
_COUNTS = frozenset((
    "rows", "succeeded", "failed", "pending", "requests", "retries", "prompt_tokens", "completion_tokens",
    "unpriced_rows", "possibly_billed_requests", "truncated", "empty", "events", "pid", "in_flight", "waiting",
    "answers_of_run",
))  # fmt: skip
_NUMBERS = frozenset(("seconds", "rows_per_second", "recent_rows_per_second", "eta_seconds", "paused_seconds"))


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
    """Return the latest progress; None where there is none that can be read. What is not sound in it is left out."""
    try:
        with (directory / FILE_NAME).open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if value is None or _is_sound(name, value)}


def _is_sound(name: str, value: Any) -> bool:
    if name in _MOMENTS:
        return is_moment(value)
    if name == "output_stamp":
        return isinstance(value, list) and all(map(is_count, value))
    if name == "errors":
        return isinstance(value, list) and all(map(_is_kind, value))
    if name == "error":
        return isinstance(value, dict) and set(value) == {"kind", "message"} and all(map(is_text, value.values()))
    if name in _KINDS:
        return isinstance(value, dict) and all(map(is_text, value)) and all(map(is_count, value.values()))
    if name == "trouble":
        return (
            isinstance(value, dict)
            and set(value) == set(_TROUBLE)
            and all(is_text(value[part]) if part in ("where", "cause") else is_number(value[part]) for part in _TROUBLE)
        )
    if name == "paused":
        return isinstance(value, bool)
    if name == "set":
        return isinstance(value, dict) and all(map(is_text, value)) and all(map(is_text, value.values()))
    if name in _TEXTS:
        return is_text(value)
    if name.endswith("_usd"):
        return is_amount(value)
    return is_count(value) if name in _COUNTS else name not in _NUMBERS or is_number(value)


def _is_kind(found: Any) -> bool:
    return (
        isinstance(found, dict) and set(found) == {"kind", "rows", "example"}
        and is_text(found["kind"]) and is_count(found["rows"]) and is_text(found["example"])
    )  # fmt: skip
