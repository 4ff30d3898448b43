"""The result file of OpenAI's Batch API (platform.openai.com/docs/api-reference/batch), as if a batch had answered."""

from __future__ import annotations

import json
from typing import BinaryIO

from pipeline.exports.cells import json_text
from pipeline.exports.selection import Chosen
from pipeline.exports.text import as_text
from pipeline.records import JsonObject, Row, digest
from pipeline.sink import fields_of
from pipeline.sources.identity import row_values


def write_batch_results(chosen: Chosen, file: BinaryIO) -> int:
    """Write a line for each row, in input order: the answer as a chat completion, or the failure as an error."""
    rows = 0
    own = [field.name for field in fields_of(chosen.results.rows)]
    with as_text(file) as text:
        for part in chosen.parts():
            for values in row_values(part.rows):
                text.write(json_text(_line({name: values[chosen.column(name)] for name in own})) + "\n")
                rows += 1
    return rows


def _line(row: Row) -> JsonObject:
    custom_id = _custom_id(row)
    # Rows may ask the same.
    number = digest([custom_id, row["request_hash"]])[:24]
    found = {"id": f"batch_req_{number}", "custom_id": custom_id}
    if row["status"] != "succeeded":
        error = {"code": row["error_kind"], "message": row["error_message"]}
        return {**found, "response": None, "error": error}
    response = {"status_code": 200, "request_id": number, "body": _completion(row, number)}
    return {**found, "response": response, "error": None}


def _custom_id(row: Row) -> str:
    parts = (row["row_id"], row.get("variant"), row.get("sample_index"))
    return "/".join(str(part) for part in parts if part is not None)


def _completion(row: Row, number: str) -> JsonObject:
    is_refusal = row["response_type"] == "refusal"
    message = {
        "role": "assistant",
        "content": None if is_refusal else row["response"],
        "refusal": row["response"] if is_refusal else None,
        **({} if row["tool_calls"] is None else {"tool_calls": json.loads(row["tool_calls"])}),
        **({} if row["reasoning"] is None else {"reasoning_content": row["reasoning"]}),
    }
    reason = row["finish_reason"] or ("length" if row["truncated"] else "stop")
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": int(row["finished_at"].timestamp()) if row["finished_at"] is not None else 0,
        "model": row["served_model"] or row["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": _usage(row),
    }


def _usage(row: Row) -> JsonObject | None:
    if row["prompt_tokens"] is None or row["completion_tokens"] is None:
        return None
    cached, reasoning = row["cached_tokens"], row["reasoning_tokens"]
    return {
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "total_tokens": row["total_tokens"] or row["prompt_tokens"] + row["completion_tokens"],
        **({} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}),
        **({} if reasoning is None else {"completion_tokens_details": {"reasoning_tokens": reasoning}}),
    }
