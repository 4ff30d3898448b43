#!/bin/sh
# Daft 0.7.26 reads the parts of a message as null when other messages are texts; duckdb 2.0.1 puts those in quotes.
#
# The content of a chat message is a text, or a list of parts, and both occur in one JSON Lines file. Daft takes the
# column for text, and whatever is no text is null in it, without an error. duckdb takes it for JSON, so a text has
# quotes and escapes once a single row is no text. polars writes the parts as JSON, and leaves the texts as they are.
# pyarrow raises an error. pandas keeps all.
#
# For a batch: rows with an image are asked without their content, or all prompts are in quotes.
#
#> written: 'Say "hi"' and [{'type': 'text', 'text': 'Look'}]
#> Daft 0.7.26: 'Say "hi"' and None
#> duckdb 2.0.1: '"Say \\"hi\\""' and '[{"type":"text","text":"Look"}]'
#> polars 2.1.0: 'Say "hi"' and '[{"type": "text", "text": "Look"}]'
#> pyarrow 25.0.1: ArrowInvalid
#> pandas 3.1.1: 'Say "hi"' and [{'type': 'text', 'text': 'Look'}]
. "$(dirname "$0")/support/check.sh"
install daft==0.7.26 duckdb==2.0.1 polars==2.1.0 pyarrow==25.0.1 pandas==3.1.1
check <<'EOF'
import json
from importlib.metadata import version
from pathlib import Path

import daft
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from pyarrow.json import read_json

CONTENTS = ['Say "hi"', [{"type": "text", "text": "Look"}]]
lines = [json.dumps({"content": content}) + "\n" for content in CONTENTS]
Path("rows.jsonl").write_text("".join(lines), encoding="utf-8")
print("written:", " and ".join(map(repr, CONTENTS)))
for name, read in (
    ("Daft", lambda: daft.read_json("rows.jsonl").to_pydict()["content"]),
    ("duckdb", lambda: [content for (content,) in duckdb.execute("FROM 'rows.jsonl'").fetchall()]),
    ("polars", lambda: pl.read_ndjson("rows.jsonl")["content"].to_list()),
    ("pyarrow", lambda: read_json("rows.jsonl")["content"].to_pylist()),
    ("pandas", lambda: pd.read_json("rows.jsonl", lines=True)["content"].to_list()),
):
    try:
        seen = " and ".join(map(repr, read()))
    except pa.ArrowInvalid as error:
        seen = type(error).__name__
    print(f"{name} {version(name.lower())}: {seen}")
EOF
