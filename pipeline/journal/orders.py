"""Orders to a running job, and its replies: two small files beside the journal.

There is one order at a time, in `order.json`. The run removes it and adds its reply to `replies.json`. Neither file is
synced: they carry what a person says to a running program.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.journal.checks import is_text
from pipeline.journal.json_file import read_json, write_json

ORDER_NAME = "order.json"
REPLIES_NAME = "replies.json"
_MAX_BYTES = 2**16
_MAX_REPLIES = 50


class Order(Struct, frozen=True):
    """What a run is asked to do: `pause`, `resume`, or `set` a key of the job file to a value, given as YAML."""

    action: str
    key: str = ""
    value: str = ""


class Reply(Struct, frozen=True):
    """The reply of a run to an order: what it does now, or why it does not."""

    text: str
    is_refused: bool = False


def put_order(directory: Path, order: Order) -> str | None:
    """Leave an order for the run. Returns the word that identifies its reply; None while another order is waiting.

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
    """Take the waiting order, with the word that identifies its reply; None if there is none, or none that is valid."""
    path = directory / ORDER_NAME
    found = read_json(path, _MAX_BYTES)
    if not found:
        return None
    with suppress(OSError):
        path.unlink()
    if set(found) != {"token", "action", "key", "value"} or not all(map(is_text, found.values())):
        return None
    return found["token"], Order(found["action"], found["key"], found["value"])


def withdraw_orders(directory: Path) -> None:
    """Remove the orders to an earlier run, and its replies."""
    for name in (ORDER_NAME, REPLIES_NAME):
        with suppress(OSError):
            (directory / name).unlink()


def put_reply(directory: Path, token: str, reply: Reply) -> None:
    """Reply to an order. The reply is lost if the disk does not accept it."""
    path = directory / REPLIES_NAME
    replies = {**read_json(path, _MAX_BYTES), token: asdict(reply)}
    with suppress(OSError):
        write_json(path, dict(list(replies.items())[-_MAX_REPLIES:]))


def read_reply(directory: Path, token: str) -> Reply | None:
    """Return the reply to an order; None where there is none yet."""
    found = read_json(directory / REPLIES_NAME, _MAX_BYTES).get(token)
    if not isinstance(found, dict) or set(found) != {"text", "is_refused"} or not is_text(found["text"]):
        return None
    return Reply(found["text"], found["is_refused"] is True)
