"""Orders to a run under way, and its replies: two small files beside the journal.

One order at a time lies in `order.json`; the run takes it away and adds its reply to `replies.json`. They carry what a
person says to a running program, so neither is synced.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.journal.facts import is_text
from pipeline.journal.json_file import read_json, write_json

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
    try:
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            json.dump({"token": token, **asdict(order)}, file)
        os.link(draft, directory / ORDER_NAME)  # unlike a rename, it replaces nothing
    except FileExistsError:
        return None
    finally:
        draft.unlink(missing_ok=True)
    return token


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def take_order(directory: Path) -> tuple[str, Order] | None:
    """Take the order that lies there, with the word for its reply; None where there is none, or nothing sound."""
    path = directory / ORDER_NAME
    found = read_json(path, _MOST_BYTES)
    if not found:
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
    path = directory / REPLIES_NAME
    replies = {**read_json(path, _MOST_BYTES), token: asdict(reply)}
    with suppress(OSError):
        write_json(path, dict(list(replies.items())[-_MOST_REPLIES:]))


def read_reply(directory: Path, token: str) -> Reply | None:
    """Return the reply to an order; None where there is none yet."""
    found = read_json(directory / REPLIES_NAME, _MOST_BYTES).get(token)
    if not isinstance(found, dict) or set(found) != {"text", "is_refused"} or not is_text(found["text"]):
        return None
    return Reply(found["text"], found["is_refused"] is True)
