"""A request as a line of a batch's file (platform.openai.com/docs/api-reference/batch)."""

from __future__ import annotations

from pipeline.providers.interface import Endpoint
from pipeline.records import Request, json_text

LINE_URL = "/v1/chat/completions"
"""What a batch and each of its lines is for, whatever the path of the base."""

_OF_STREAMS = frozenset({"stream", "stream_options"})


def request_line(custom_id: str, request: Request, endpoint: Endpoint) -> bytes:
    """Return a request as a line. Lines are never streams."""
    body = {name: value for name, value in endpoint.payload(request).items() if name not in _OF_STREAMS}
    line = {"custom_id": custom_id, "method": "POST", "url": LINE_URL, "body": body}
    return json_text(line).encode("utf-8", "replace") + b"\n"
