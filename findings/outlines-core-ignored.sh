#!/bin/sh
# outlines_core 0.2.14: parts of a JSON schema are ignored without a word, and allOf asks for text that is no JSON.
#
# `build_regex_from_schema` makes the pattern that guides the output. It has no use for minimum and maximum, nor for a
# pattern beside a length, and the parts of an allOf follow each other, so only two values in a row are let through.
#
# For a batch: a rating from 1 to 5 may be 9, and under an allOf every answer that was paid for is no JSON.
#
#> outlines_core 0.2.14
#> {"type": "integer", "minimum": 1, "maximum": 5}
#>   3 valid, let through
#>   9 not valid, let through
#> {"type": "string", "pattern": "^[A-Z]+$", "maxLength": 3}
#>   "ABC" valid, let through
#>   "abc" not valid, let through
#> {"allOf": [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 3}]}
#>   "abc" valid, held back
#>   "abc""abc" no JSON, let through
. "$(dirname "$0")/support/check.sh"
install outlines_core==0.2.14 jsonschema==4.26.0
check <<'EOF'
import json
import re
from importlib.metadata import version

from jsonschema import Draft202012Validator
from outlines_core.json_schema import build_regex_from_schema


def verdict(schema, text: str) -> str:
    try:
        return "valid" if Draft202012Validator(schema).is_valid(json.loads(text)) else "not valid"
    except json.JSONDecodeError:
        return "no JSON"


print("outlines_core", version("outlines_core"))
for schema, texts in (
    ({"type": "integer", "minimum": 1, "maximum": 5}, ("3", "9")),
    ({"type": "string", "pattern": "^[A-Z]+$", "maxLength": 3}, ('"ABC"', '"abc"')),
    ({"allOf": [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 3}]}, ('"abc"', '"abc""abc"')),
):
    print(json.dumps(schema))
    pattern = build_regex_from_schema(json.dumps(schema))
    for text in texts:
        through = "let through" if re.fullmatch(pattern, text) else "held back"
        print(f"  {text} {verdict(schema, text)}, {through}")
EOF
