"""What the bare loops send and read."""

from __future__ import annotations

from typing import Any

HEADERS = {"Authorization": "Bearer sk-benchmark-0123456789"}
PARAMETERS = {"max_tokens": 256, "temperature": 0.7}


def body_of(prompt: str, url: str, model: str) -> dict[str, Any]:
    """Return the request, in the envelope of the address: Dataoorts' below `/api/v1`, else OpenAI's."""
    messages = [{"role": "user", "content": prompt}]
    if url.endswith("/api/v1"):
        return {"model": model, "data": {"messages": messages, **PARAMETERS}}
    return {"model": model, "messages": messages, **PARAMETERS}


def answer_in(reply: dict[str, Any]) -> tuple[str, int]:
    """Return the text of a reply and its tokens."""
    if "result" in reply:
        return reply["result"]["response"], reply["result"]["usage"]["total_tokens"]
    return reply["choices"][0]["message"]["content"], reply["usage"]["total_tokens"]
