"""The CPU that the check of one answer takes: structured.py [ANSWERS]

An answer of ten fields is read, checked against its schema and made a cell, first by the compiled check and then by
jsonschema alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from pipeline.expect import load_schema
from pipeline.expect.expectation import SchemaExpectation
from pipeline.expect.schemas import make_validator

_TEXT = {"type": "string", "minLength": 1}
SCHEMA = {
    "type": "object",
    "properties": {
        "title": _TEXT,
        "summary": _TEXT,
        "language": {"enum": ["de", "en", "fr", "ka"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "votes": {"type": "integer", "minimum": 0},
        "is_spam": {"type": "boolean"},
        "tags": {"type": "array", "items": _TEXT, "maxItems": 10},
        "author": {"anyOf": [_TEXT, {"type": "null"}]},
        "place": {"type": "object", "properties": {"city": _TEXT, "zip": _TEXT}, "required": ["city"]},
        "source": {"type": ["string", "null"]},
    },
    "required": ["title", "summary", "language", "score", "votes"],
    "additionalProperties": False,
}
ANSWER = {
    "title": "A title of some words",
    "summary": "A sentence that says what the text is about, and another one that does so at greater length.",
    "language": "en",
    "score": 0.75,
    "votes": 12,
    "is_spam": False,
    "tags": ["one", "two", "three"],
    "author": "N. N.",
    "place": {"city": "Tbilisi", "zip": "0105"},
    "source": None,
}


def microseconds(check: Callable[[], Any], answers: int) -> float:
    """Return the microseconds of CPU that one check takes."""
    began = time.process_time()
    for _ in range(answers):
        check()
    return (time.process_time() - began) / answers * 1e6


def main(answers: int = 20_000) -> None:
    """Measure and print."""
    text = json.dumps(ANSWER)
    schema = load_schema(SCHEMA)
    expectation, validator = SchemaExpectation(schema), make_validator(schema)
    print(f"read, checked and converted: {microseconds(lambda: expectation.read(text), answers):.1f} µs an answer")
    print(f"jsonschema alone, once read: {microseconds(lambda: validator.is_valid(ANSWER), answers // 10):.1f} µs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
