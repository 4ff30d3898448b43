"""The Batches API (platform.openai.com/docs/api-reference/batch), in memory, over the files of `files.py`.

A batch is worked on `batch_seconds` after its creation; its answers come back in a drawn order, at half the price. The
first batch meets the first of the faults that the settings name, the second the second, and so on.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct, field

from pipeline.simulator.files import Files
from pipeline.simulator.wire import HttpRequest, Reply, hang, json_reply

FAULTS = ("none", "create_never", "create_late", "lines_lost", "lines_failed", "expired", "failed", "cut_file")
"""`create_never` creates a batch and does not answer; `create_late` answers a minute late; `lines_lost` and
`lines_failed` hold for every third line, `expired` for every second one; `failed` fails the whole batch; `cut_file`
breaks off the first download.
"""

_ENDED = ("completed", "failed", "expired", "cancelled")
_MOST_LISTED = 100

JsonObject = dict[str, Any]
Answer = Callable[[JsonObject], tuple[int, JsonObject]]
"""From a line's body to the status and the body of its answer; records and bills it."""


class _Batch(Struct):
    id: str
    input_file_id: str
    metadata: object
    created_at: float
    ready_at: float
    fault: str
    window: str
    status: str = "in_progress"
    output_file_id: str | None = None
    error_file_id: str | None = None
    completed: int = 0
    failed: int = 0
    lines: int = 0
    errors: list[JsonObject] = field(default_factory=list)
    ended_at: float = 0.0

    def end(self, status: str) -> None:
        self.status, self.ended_at = status, time.time()

    def shown(self) -> JsonObject:
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": self.input_file_id,
            "completion_window": self.window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": int(self.created_at),
            "in_progress_at": int(self.created_at),
            **{f"{end}_at": int(self.ended_at) if self.status == end else None for end in _ENDED},
            "metadata": self.metadata,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "request_counts": {"total": self.lines, "completed": self.completed, "failed": self.failed},
        }


class Batches:
    """The files and batches of one simulator. `answer` answers and bills a line."""

    def __init__(self, answer: Answer, *, seconds: float, faults: tuple[str, ...], seed: int) -> None:
        self._answer = answer
        self._seconds = seconds
        self._faults = list(faults)
        self._seed = seed
        self._files = Files()
        self._batches: dict[str, _Batch] = {}

    def reply(self, request: HttpRequest) -> Reply | None:
        """Return the reply to a request; None where the path is none of these APIs."""
        if (reply := self._files.reply(request)) is not None:
            return reply
        match request.method, request.path.removeprefix("/v1/").split("/"):
            case "POST", ["batches"]:
                return self._create(request)
            case "GET", ["batches"]:
                return self._listed(parse_qs(request.query))
            case "GET", ["batches", name] if name in self._batches:
                return json_reply(200, self._looked_at(self._batches[name]).shown())
            case "POST", ["batches", name, "cancel"] if name in self._batches:
                return self._cancel(self._looked_at(self._batches[name]))
            case _, ["files" | "batches", *_]:
                return _error(404, "no such file or batch")
        return None

    def _create(self, request: HttpRequest) -> Reply:
        try:
            asked = json.loads(request.body)
            file_id, window = asked["input_file_id"], asked["completion_window"]
        except (ValueError, KeyError, TypeError):
            return _error(400, "input_file_id, endpoint and completion_window are required")
        if file_id not in self._files or asked.get("endpoint") != "/v1/chat/completions":
            return _error(400, "no such file or endpoint")
        now = time.time()
        fault = self._faults.pop(0) if self._faults else "none"
        batch = _Batch(
            f"batch_{len(self._batches) + 1:06}",
            file_id,
            asked.get("metadata"),
            now,
            now + self._seconds,
            fault,
            window,
        )
        self._batches[batch.id] = batch
        reply = json_reply(200, batch.shown())
        if fault in ("create_never", "create_late"):
            return Reply(reply.status, reply.headers, reply.body, hang, is_complete=False)
        return reply

    def _listed(self, query: Mapping[str, list[str]]) -> Reply:
        names = list(reversed(self._batches))
        if after := query.get("after"):
            names = names[names.index(after[0]) + 1 :] if after[0] in names else []
        limit = min(_MOST_LISTED, int(query.get("limit", ["20"])[0]))
        page = [self._looked_at(self._batches[name]).shown() for name in names[:limit]]
        return json_reply(200, {"object": "list", "data": page, "has_more": len(names) > limit})

    def _cancel(self, batch: _Batch) -> Reply:
        if batch.status == "in_progress":
            batch.end("cancelled")
        return json_reply(200, batch.shown())

    def _looked_at(self, batch: _Batch) -> _Batch:
        """Work on a batch whose time has come."""
        if batch.status in _ENDED or time.time() < batch.ready_at:
            return batch
        if batch.fault == "failed":
            batch.end("failed")
            batch.errors = [{"code": "invalid_file", "message": "the simulator failed this batch"}]
            return batch
        lines = [json.loads(line) for line in self._files.content(batch.input_file_id).splitlines() if line]
        batch.lines = len(lines)
        answers: list[JsonObject] = []
        errors: list[JsonObject] = []
        for index, line in enumerate(lines):
            if batch.fault == "lines_lost" and index % 3 == 0:
                continue
            if batch.fault == "expired" and index % 2 == 0:
                errors.append(_line(line, None, {"code": "batch_expired", "message": "the batch expired"}))
                continue
            if batch.fault == "lines_failed" and index % 3 == 0:
                errors.append(_line(line, (500, {"error": {"message": "the simulator failed this line"}}), None))
                continue
            status, body = self._answer(line["body"])
            (answers if status == 200 else errors).append(_line(line, (status, body), None))
        batch.completed, batch.failed = len(answers), len(errors)
        drawn = random.Random(f"{self._seed}-{batch.id}")
        batch.output_file_id = self._keep(answers, f"{batch.id}_output.jsonl", drawn)
        batch.error_file_id = self._keep(errors, f"{batch.id}_error.jsonl", drawn)
        if batch.fault == "cut_file" and batch.output_file_id is not None:
            self._files.cut_once(batch.output_file_id)
        batch.end("expired" if batch.fault == "expired" else "completed")
        return batch

    def _keep(self, lines: list[JsonObject], filename: str, drawn: random.Random) -> str | None:
        if not lines:
            return None
        drawn.shuffle(lines)
        return self._files.keep("".join(json.dumps(line) + "\n" for line in lines).encode(), filename)


def _line(line: JsonObject, response: tuple[int, JsonObject] | None, error: JsonObject | None) -> JsonObject:
    found = None
    if response is not None:
        found = {"status_code": response[0], "request_id": f"req_{line['custom_id']}", "body": response[1]}
    return {"id": f"batch_req_{line['custom_id']}", "custom_id": line["custom_id"], "response": found, "error": error}


def _error(status: int, message: str) -> Reply:
    return json_reply(status, {"error": {"message": message, "type": "invalid_request_error"}})
