#!/bin/sh
# json_repair 0.64.6: in an answer that needs repair, two escapes of JSON are no longer read as JSON reads them.
#
# One comma too many is enough: the slashes of `https:\/\/` keep their backslashes, and a character written as a
# surrogate pair, as every encoder that stays within ASCII does, becomes two halves that cannot be written as UTF-8.
# The same texts in an answer that needs no repair are read right, since Python's own decoder sees it first.
#
# For a batch: links are broken in some rows only, and a row with the halves fails when the table is written.
#
#> json_repair 0.64.6
#> {"text": "https:\/\/example.com"}    https://example.com
#> {"text": "https:\/\/example.com",}   https:\/\/example.com
#> {"text": "done \ud83d\udc4d"}        encodes as UTF-8
#> {"text": "done \ud83d\udc4d",}       UnicodeEncodeError
. "$(dirname "$0")/support/check.sh"
install json_repair==0.64.6
check <<'EOF'
from importlib.metadata import version

from json_repair import loads

print("json_repair", version("json_repair"))
for answer in (r'{"text": "https:\/\/example.com"}', r'{"text": "https:\/\/example.com",}'):
    print(answer.ljust(36), loads(answer)["text"])
for answer in (r'{"text": "done \ud83d\udc4d"}', r'{"text": "done \ud83d\udc4d",}'):
    try:
        loads(answer)["text"].encode()
        outcome = "encodes as UTF-8"
    except UnicodeEncodeError as error:
        outcome = type(error).__name__
    print(answer.ljust(36), outcome)
EOF
