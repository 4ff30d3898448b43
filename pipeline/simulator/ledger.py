"""The simulator's record of requests and charges, as JSON lines.

Each record is a single write to a file opened for appending, so it survives a kill of the process, and several
processes may share a file. docs/simulator.md describes the fields.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.simulator.chat_request import ChatRequest
from pipeline.simulator.faults import Outcome

Record = dict[str, Any]
"""One line of a ledger."""

_encode = json.JSONEncoder(separators=(",", ":")).encode

_START = b'{"event":"asked","server":'
"""The beginning of the first record."""


class Bill(Struct, frozen=True):
    """The exact cost of one answer, in tokens and USD."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


class Exchange(Struct, frozen=True):
    """The records of one request; `answered` is None if the process ended before it could answer."""

    asked: Record
    answered: Record | None


class Ledger:
    """An open ledger. Without a path it records nothing. Raises OSError if the file cannot be written."""

    def __init__(self, path: str | None) -> None:
        self._server = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._file = None if path is None else _open(Path(path))

    def asked(self, n: int, path: str, has_key: bool, chat: ChatRequest | None) -> None:
        """Record a request on arrival. `chat` is None if it is not a valid chat request."""
        if self._file is None:
            return
        self._write(
            {
                "event": "asked",
                "server": self._server,
                "n": n,
                "at": time.time(),
                "key_present": has_key,
                "path": path,
                "model": chat and chat.model.name,
                "prompt": chat and chat.prompt,
                "request": chat and chat.request,
                "parameters": chat and chat.parameters,
            }
        )

    def answered(self, n: int, fault: str | None, outcome: Outcome, bill: Bill, is_delivered: bool) -> None:
        """Record the reply that is about to be sent, and its charge."""
        if self._file is None:
            return
        shown = outcome.shown
        self._write(
            {
                "event": "answered",
                "server": self._server,
                "n": n,
                "at": time.time(),
                "status": outcome.reply.status,
                "fault": fault,
                "usage": shown and shown.usage,
                "billed_prompt_tokens": bill.prompt_tokens,
                "billed_completion_tokens": bill.completion_tokens,
                "cost_usd": format(bill.cost_usd, "f"),
                "response": shown and shown.response,
                "delivered": is_delivered,
            }
        )

    def undelivered(self, n: int) -> None:
        """Revoke the `delivered` of a record: the client disconnected while the reply was written."""
        if self._file is not None:
            self._write({"event": "undelivered", "server": self._server, "n": n, "at": time.time()})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, record: Record) -> None:
        assert self._file is not None
        os.write(self._file, _encode(record).encode() + b"\n")


def read_records(path: str | Path) -> Iterator[Record]:
    """Read the records of a ledger in order; skip torn lines (a full disk). Without a file there are none."""
    if not Path(path).exists():
        return
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def read_ledger(path: str | Path) -> list[Exchange]:
    """Return every request of a ledger in order of arrival, with its answer; `delivered` is corrected."""
    asked: dict[tuple[str, int], Record] = {}
    answered: dict[tuple[str, int], Record] = {}
    for record in read_records(path):
        key = (record["server"], record["n"])
        match record["event"]:
            case "asked":
                asked[key] = record
            case "answered":
                answered[key] = record
            case "undelivered":
                answered.get(key, {})["delivered"] = False
    return [Exchange(record, answered.get(key)) for key, record in asked.items()]


def count_askings(path: str | Path) -> Counter[str]:
    """Count the requests for each prompt, by its digest, except those refused for their format or rate."""
    counts: Counter[str] = Counter()
    unanswered: dict[tuple[str, int], str] = {}
    for record in read_records(path):
        key = (record["server"], record["n"])
        if record["event"] == "asked" and record["prompt"] is not None:
            counts[record["prompt"]] += 1
            unanswered[key] = record["prompt"]
        elif record["event"] == "answered":
            prompt = unanswered.pop(key, None)
            if prompt is not None and record["status"] != 200 and record["fault"] is None:
                counts[prompt] -= 1
    return counts


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    size = os.fstat(file).st_size
    # A first record that was interrupted may have left less.
    if not _START.startswith(os.pread(file, len(_START), 0)):
        os.close(file)
        raise FileExistsError(errno.EEXIST, "it exists and is no ledger; name another file", str(path))
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
    return file
