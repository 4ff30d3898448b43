"""The Files API (platform.openai.com/docs/api-reference/files), in memory: what batches read, and what they leave."""

from __future__ import annotations

import re
import time
from typing import Any

from msgspec import Struct

from pipeline.simulator.wire import HttpRequest, Reply, json_reply, truncate

JsonObject = dict[str, Any]


class _File(Struct, frozen=True):
    id: str
    filename: str
    purpose: str
    created_at: int
    content: bytes

    def shown(self) -> JsonObject:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """The files of one simulator."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._made = 0
        self._cut: set[str] = set()

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def content(self, name: str) -> bytes:
        """Return what a file holds."""
        return self._files[name].content

    def keep(self, content: bytes, filename: str, purpose: str = "batch_output") -> str:
        """Keep a file, and return its id."""
        self._made += 1
        name = f"file-{self._made:06}"
        self._files[name] = _File(name, filename, purpose, int(time.time()), content)
        return name

    def cut_once(self, name: str) -> None:
        """Break off the next download of a file."""
        self._cut.add(name)

    def reply(self, request: HttpRequest) -> Reply | None:
        """Return the reply to a request; None where the path is none of this API, or names a file that is not there."""
        match request.method, request.path.removeprefix("/v1/").split("/"):
            case "POST", ["files"]:
                return self._upload(request)
            case "GET", ["files"]:
                shown = [file.shown() for file in reversed(self._files.values())]
                return json_reply(200, {"object": "list", "data": shown, "has_more": False})
            case "GET", ["files", name] if name in self._files:
                return json_reply(200, self._files[name].shown())
            case "GET", ["files", name, "content"] if name in self._files:
                return self._download(name)
            case "DELETE", ["files", name] if name in self._files:
                del self._files[name]
                return json_reply(200, {"id": name, "object": "file", "deleted": True})
        return None

    def _upload(self, request: HttpRequest) -> Reply:
        boundary = re.search(r"boundary=([^;]+)", request.headers.get("content-type", ""))
        parts = [] if boundary is None else request.body.split(b"--" + boundary[1].encode())
        found = {match[1]: part for part in parts if (match := re.search(rb'[; ]name="(\w+)"', part))}
        if b"file" not in found or b"batch" not in found.get(b"purpose", b""):
            message = "a form with the parts purpose and file is wanted"
            return json_reply(400, {"error": {"message": message, "type": "invalid_request_error"}})
        head, _, content = found[b"file"].partition(b"\r\n\r\n")
        filename = re.search(rb'filename="([^"]*)"', head)
        name = self.keep(content.removesuffix(b"\r\n"), filename[1].decode() if filename else "file", "batch")
        return json_reply(200, self._files[name].shown())

    def _download(self, name: str) -> Reply:
        reply = Reply(200, {"Content-Type": "application/octet-stream"}, self._files[name].content)
        if name in self._cut:
            self._cut.remove(name)
            return Reply(200, reply.headers, reply.body, truncate, is_complete=False)
        return reply
