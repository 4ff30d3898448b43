"""The sets of settings under which events were recorded. They are numbered from 1, in the order of their first use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.records import JsonObject


class Settings(NamedTuple):
    """A set of settings: its hash, and the description that was hashed, which has at least the key `model`."""

    hash: str
    description: JsonObject


def settings_text(settings: Sequence[Settings]) -> str:
    """Return the settings as the journal stores them, in one line of JSON."""
    return json.dumps(settings, sort_keys=True)


def parse_settings(text: str) -> list[Settings]:
    """Return the settings from their stored form. Raises ValueError and TypeError if the text is invalid."""
    return [Settings(*one) for one in json.loads(text)]
