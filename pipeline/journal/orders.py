"""Orders to a run under way, and its replies: two small files beside the journal.

One order at a time lies in `order.json`; the run takes it away and adds its reply to `replies.json`. They carry what a
person says to a running program, so neither is synced.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.journal.facts import is_text

ORDER_NAME = "order.json"
REPLIES_NAME = "replies.json"
_MOST_BYTES = 2**16
_MOST_REPLIES = 50


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a run: to `pause`, to `resume`, or to `set` a key of the job file to a value, as YAML."""

    action: str
    key: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a run says to an order: what it does now, or why it does not."""

    text: str
    is_refused: bool = False


def put_order(directory: Path, order: Order) -> str | None:
    """Lay an order down for the run; returns the word that its reply goes by, None while another order lies there.

    Raises OSError.
    """
    token = secrets.token_hex(8)
    draft = directory / f"{ORDER_NAME}.new"
    _write(draft, {"token": token, **asdict(order)})
    try:
        os.link(draft, directory / ORDER_NAME)  # unlike a rename, it replaces nothing
    except FileExistsError:
        return None
    finally:
        draft.unlink(missing_ok=True)
    return token


def take_order(directory: Path) -> tuple[str, Order] | None:
    """Take the order that lies there, with the word for its reply; None where there is none, or nothing sound."""
    path = directory / ORDER_NAME
    found = _read(path)
    if found is None:
        return None
    with suppress(OSError):
        path.unlink()
    if set(found) != {"token", "action", "key", "value"} or not all(map(is_text, found.values())):
        return None
    return found["token"], Order(found["action"], found["key"], found["value"])


def withdraw_orders(directory: Path) -> None:
    """Remove what was said to an earlier run."""
    for name in (ORDER_NAME, REPLIES_NAME):
        with suppress(OSError):
            (directory / name).unlink()


def put_reply(directory: Path, token: str, reply: Reply) -> None:
    """Answer an order. What the disk does not take is not said."""
    replies = {**(_read(directory / REPLIES_NAME) or {}), token: asdict(reply)}
    latest = dict(list(replies.items())[-_MOST_REPLIES:])
    draft = directory / f"{REPLIES_NAME}.new"
    with suppress(OSError):
        _write(draft, latest)
        draft.rename(directory / REPLIES_NAME)


def read_reply(directory: Path, token: str) -> Reply | None:
    """Return the reply to an order; None where there is none yet."""
    found = (_read(directory / REPLIES_NAME) or {}).get(token)
    if not isinstance(found, dict) or set(found) != {"text", "is_refused"} or not is_text(found["text"]):
        return None
    return Reply(found["text"], found["is_refused"] is True)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
