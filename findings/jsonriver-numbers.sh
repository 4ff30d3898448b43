#!/bin/sh
# jsonriver 1.0.0: every number of a streamed answer is a float, and an escaped emoji is two halves of a character.
#
# It gives the values of a JSON text while the text arrives. Above 2**53 a float stands for several integers, so an id
# becomes the one beside it, and a count is written back as 3.0. A character that is escaped as a pair stays a pair,
# which is no text that can be written to a file. ijson, which reads as it goes too, gives both right.
#
# For a batch: a model that picks an id names another row, and a row with an emoji fails when the table is written.
#
#> written: {"id": 9007199254740993, "count": 3, "mood": "\ud83d\ude00"}
#> jsonriver 1.0.0: id 9007199254740992.0, count 3.0, mood UnicodeEncodeError
#> ijson 3.6.0: id 9007199254740993, count 3, mood 4 bytes
. "$(dirname "$0")/support/check.sh"
install jsonriver==1.0.0 ijson==3.6.0
check <<'EOF'
import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version

import ijson
import jsonriver

ANSWER = r'{"id": 9007199254740993, "count": 3, "mood": "\ud83d\ude00"}'


async def pieces() -> AsyncIterator[str]:
    for character in ANSWER:
        yield character


async def with_jsonriver() -> dict:
    return [value async for value in jsonriver.parse(pieces())][-1]


print("written:", ANSWER)
for name, value in (
    ("jsonriver", asyncio.run(with_jsonriver())),
    ("ijson", next(ijson.items(ANSWER.encode(), ""))),
):
    try:
        mood = f"{len(value['mood'].encode())} bytes"
    except UnicodeEncodeError as error:
        mood = type(error).__name__
    print(f"{name} {version(name)}: id {value['id']}, count {value['count']}, mood {mood}")
EOF
