"""A small file beside the journal that `status` reads while a run holds the journal."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.journal.checks import is_amount, is_count, is_moment, is_number, is_text
from pipeline.journal.json_file import read_json, write_json
from pipeline.records import JsonObject

FILE_NAME = "progress.json"
_MAX_BYTES = 2**20
_MOMENTS = frozenset(("updated_at", "last_progress_at"))
_TEXTS = frozenset(("job", "run_id", "status", "output"))
_KINDS = frozenset(("failures", "accepted", "to_retry"))
_TROUBLE = ("where", "cause", "failures", "seconds", "gives_up_in_seconds")
_COUNTS = frozenset(
    (
        "rows",
        "succeeded",
        "failed",
        "pending",
        "requests",
        "retries",
        "prompt_tokens",
        "completion_tokens",
        "unpriced_rows",
        "possibly_billed_requests",
        "truncated",
        "empty",
        "events",
        "pid",
        "in_flight",
        "waiting",
        "answers_of_run",
    )
)
_NUMBERS = frozenset(("seconds", "rows_per_second", "recent_rows_per_second", "eta_seconds", "paused_seconds"))


def write_progress(directory: Path, progress: JsonObject) -> None:
    """Replace the progress file atomically.

    It is a convenience: it is not synced, and it stays as it was if the disk does not accept it. The journal reports a
    disk that fails.
    """
    with suppress(OSError):
        write_json(directory / FILE_NAME, progress)


def read_progress(directory: Path) -> JsonObject | None:
    """Return the latest progress without its invalid entries; None if no progress can be read."""
    found = read_json(directory / FILE_NAME, _MAX_BYTES)
    valid = {name: value for name, value in found.items() if value is None or _is_valid(name, value)}
    return valid if found else None


def _is_valid(name: str, value: Any) -> bool:
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
    if name in ("paused", "is_whole"):
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
        isinstance(found, dict)
        and set(found) == {"kind", "rows", "example"}
        and is_text(found["kind"])
        and is_count(found["rows"])
        and is_text(found["example"])
    )
