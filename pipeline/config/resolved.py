"""The configuration as it is recorded: defaults filled in, variables as they are written, no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pipeline.config.models import JobConfig
from pipeline.config.reading.environment import is_variable
from pipeline.config.schema import KeyPath
from pipeline.records import JsonObject

_SECRETS: frozenset[KeyPath] = frozenset({("notify", "ping_url"), ("notify", "webhook_url"), ("telemetry", "otlp")})
_NOT_SHOWN = "(not shown)"
_HEADER_VALUE = "***"


def resolved_document(config: JobConfig, written: Mapping[KeyPath, str]) -> JsonObject:
    """Return every key of a job with its value, fit for JSON.

    `written` holds the text of values with variables, which appear as `${NAME}`. Of an address that is a secret nothing
    but such a name is kept, of a header nothing at all.
    """
    values = config.model_dump(by_alias=True)
    values["checkpoint"]["path"] = config.checkpoint.path or default_checkpoint(written.get(("name",), config.name))
    document: JsonObject = _document(values, (), written)
    return document


def default_checkpoint(name: str) -> str:
    """Return the checkpoint's path for a job that gives none."""
    return f".checkpoints/{name}"


def _document(value: Any, path: KeyPath, written: Mapping[KeyPath, str]) -> Any:
    """Return the value fit for JSON, with the variables as written."""
    if path in _SECRETS and value is not None and not is_variable(written.get(path, "")):
        return _NOT_SHOWN
    if path[:2] == ("endpoint", "headers") and isinstance(value, str):
        return _HEADER_VALUE
    if path in written:
        return written[path]
    if isinstance(value, dict):
        return {key: _document(inner, (*path, key), written) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_document(inner, (*path, index), written) for index, inner in enumerate(value)]
    if isinstance(value, Decimal):
        # As a number, as in the file; as text where a float would not be exact.
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    return value
