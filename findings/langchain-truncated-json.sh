#!/bin/sh
# langchain-core 1.8.3: a JSON answer that was cut is completed by guess, and passes as a whole one.
#
# `parse_result` has a parameter `partial`, false by default. Its documentation promises the full object then
# (reference.langchain.com/python/langchain-core/output_parsers/json/JsonOutputParser/parse_result). Partial objects are
# parsed all the same: the missing brackets are supplied, and a number or a text ends where it was cut.
# PydanticOutputParser reads the same way, so the schema is checked on what was guessed.
#
# For a batch: at max_tokens a score of 10 becomes a score of 1, and nothing tells this row from the others.
#
#> langchain-core 1.8.3
#> {"score": 1
#>   JsonOutputParser: {'score': 1}
#>   PydanticOutputParser: {'score': 1, 'labels': []}
#> {"score": 10, "labels": ["late delivery", "not dam
#>   JsonOutputParser: {'score': 10, 'labels': ['late delivery', 'not dam']}
#>   PydanticOutputParser: {'score': 10, 'labels': ['late delivery', 'not dam']}
. "$(dirname "$0")/support/check.sh"
install langchain-core==1.8.3
check <<'EOF'
from importlib.metadata import version

from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import Generation
from pydantic import BaseModel


class Review(BaseModel):
    score: int
    labels: list[str] = []


print("langchain-core", version("langchain-core"))
whole = '{"score": 10, "labels": ["late delivery", "not damaged"]}'
for end in (11, 50):
    answer = [Generation(text=whole[:end])]
    print(whole[:end])
    print("  JsonOutputParser:", JsonOutputParser().parse_result(answer, partial=False))
    found = PydanticOutputParser(pydantic_object=Review).parse_result(answer, partial=False)
    print("  PydanticOutputParser:", found.model_dump())
EOF
