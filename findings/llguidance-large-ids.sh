#!/bin/sh
# llguidance 1.9.1: under an enum or const above 2**53, the right number cannot be written, and its neighbor can.
#
# The numbers of a schema pass through a float, silently. The same number as a text is kept. llguidance guides the
# output of several servers, and the schema is valid JSON Schema.
#
# For a batch: a model that picks one of several ids is made to name an id that is not among them.
#
#> llguidance 1.9.1
#> schema {"enum": [12345678901234567, 7]}
#>   12345678901234567 refused
#>   12345678901234568 accepted
#>   7 accepted
#> schema {"const": 9007199254740993}
#>   9007199254740993 refused
#>   9007199254740992 accepted
#> schema {"enum": ["12345678901234567"]}
#>   "12345678901234567" accepted
#>   "12345678901234568" refused
. "$(dirname "$0")/support/check.sh"
install llguidance==1.9.1
check <<'EOF'
import json
from importlib.metadata import version

from llguidance import LLMatcher, LLTokenizer

TOKENIZER = LLTokenizer("byte")


def is_accepted(schema, text: str) -> bool:
    matcher = LLMatcher(TOKENIZER, LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    return matcher.consume_tokens(TOKENIZER.tokenize_str(text)) and matcher.is_accepting()


print("llguidance", version("llguidance"))
for schema, texts in (
    ({"enum": [12345678901234567, 7]}, ("12345678901234567", "12345678901234568", "7")),
    ({"const": 9007199254740993}, ("9007199254740993", "9007199254740992")),
    ({"enum": ["12345678901234567"]}, ('"12345678901234567"', '"12345678901234568"')),
):
    print("schema", json.dumps(schema))
    for text in texts:
        print(f"  {text}", "accepted" if is_accepted(schema, text) else "refused")
EOF
