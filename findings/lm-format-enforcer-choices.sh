#!/bin/sh
# lm-format-enforcer 0.11.3: a choice with a quote or a line break in it can be written wrongly only.
#
# The texts of an enum are taken into the grammar as they are, where JSON wants \" and \n. So the right answer is held
# back. What is let through ends at the quote, or is no JSON. A backslash is escaped as it should be.
#
# For a batch: rows of one label get another text or fail, and a question asked again fails again.
#
#> lm-format-enforcer 0.11.3
#> {"enum": ["5\" pipe", "plain"]}
#>   "5\" pipe" one of the choices, held back
#>   "5" none of the choices, let through
#> {"enum": ["one\ntwo"]}
#>   "one\ntwo" one of the choices, held back
#>   "one
#> two" no JSON, let through
. "$(dirname "$0")/support/check.sh"
install lm-format-enforcer==0.11.3
check <<'EOF'
import json
from importlib.metadata import version

from lmformatenforcer import JsonSchemaParser


def is_let_through(schema, text: str) -> bool:
    parser = JsonSchemaParser(schema)
    for character in text:
        if character not in parser.get_allowed_characters():
            return False
        parser = parser.add_character(character)
    return parser.can_end()


def verdict(schema, text: str) -> str:
    try:
        return "one of the choices" if json.loads(text) in schema["enum"] else "none of the choices"
    except json.JSONDecodeError:
        return "no JSON"


print("lm-format-enforcer", version("lm-format-enforcer"))
for schema, texts in (({"enum": ['5" pipe', "plain"]}, ('"5\\" pipe"', '"5"')),
                      ({"enum": ["one\ntwo"]}, ('"one\\ntwo"', '"one\ntwo"'))):  # fmt: skip
    print(json.dumps(schema))
    for text in texts:
        print(f"  {text} {verdict(schema, text)}, {'let through' if is_let_through(schema, text) else 'held back'}")
EOF
