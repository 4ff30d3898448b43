"""Where an output stands and is written, and what a file at its path is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.journal.facts import is_amount, is_count
from pipeline.storage import LOCAL

METADATA_KEY = b"llm-batch-pipeline"
"""The key under which an output's own facts stand in the metadata of its Parquet file."""


def partial_path(output: Path) -> Path:
    """Where a run that stops early leaves what it has."""
    return output.with_name(output.name.removesuffix(".parquet") + ".partial.parquet")


def is_own(path: Path, checkpoint_id: str) -> bool:
    """Whether an output stands at `path` that was written from this checkpoint."""
    return (read_metadata(path) or {}).get("checkpoint_id") == checkpoint_id


def is_foreign(path: Path, checkpoint_id: str) -> bool:
    """Whether something else stands there."""
    return path.exists() and not is_own(path, checkpoint_id)


def shows(path: Path, state: str, rows: int) -> bool:
    """Return whether the file at `path` is the output of this state, in so many rows."""
    metadata = read_metadata(path)
    return metadata is not None and metadata.get("state") == state and pq.read_metadata(path).num_rows == rows


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return what this program wrote into a Parquet file's metadata; None where the file is not one of ours.

    What the file says of its journal is checked: `journal` has `simulated`, `commits`, `events` and the two amounts,
    each only where it is sound, and `run_ids` are texts.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with LOCAL.open(path) as file:
            text = (pq.read_schema(file).metadata or {}).get(METADATA_KEY)
        found = None if text is None else json.loads(text)
    except (OSError, pa.ArrowException, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    runs, journal = found.get("run_ids"), found.get("journal")
    is_list = isinstance(runs, list) and all(isinstance(run, str) for run in runs)
    return {**found, "run_ids": runs if is_list else [], "journal": _sound_facts(journal)}


def _sound_facts(journal: Any) -> dict[str, Any]:
    if not isinstance(journal, dict):
        return {}
    tests: dict[str, Callable[[Any], bool]] = {
        "simulated": lambda value: isinstance(value, bool),
        "commits": is_count,
        "events": is_count,
        "cost_usd": is_amount,
        "possibly_billed_usd": is_amount,
    }
    return {name: journal[name] for name, is_sound in tests.items() if name in journal and is_sound(journal[name])}
