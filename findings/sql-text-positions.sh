#!/bin/sh
# Daft 0.7.26 counts the characters of a text from 0 in SQL, and polars 2.1.0 finds a position in bytes.
#
# In SQL the first character is number 1. `substr(text, 1, 100)` of Daft leaves it out. `strpos` and `position` of
# polars count bytes and its `substr` counts characters, so a text is cut in the wrong place once there is a letter
# before it that is not ASCII. duckdb and datafusion count characters from 1.
#
# For a batch: every prompt loses its first letter, or a prompt in French the beginning of its question.
#
#> the text: Café: why?
#> Daft 0.7.26: substr(text, 1, 4) is 'afé:'
#> polars 2.1.0: substr(text, 1, 4) is 'Café'
#> duckdb 2.0.1: substr(text, 1, 4) is 'Café'
#> datafusion 55.0.0: substr(text, 1, 4) is 'Café'
#> polars 2.1.0: substr(text, strpos(text, 'why')) is 'hy?'
#> duckdb 2.0.1: substr(text, strpos(text, 'why')) is 'why?'
#> datafusion 55.0.0: substr(text, strpos(text, 'why')) is 'why?'
. "$(dirname "$0")/support/check.sh"
install daft==0.7.26 polars==2.1.0 duckdb==2.0.1 datafusion==55.0.0 pyarrow==25.0.1
check <<'EOF'
from importlib.metadata import version

import daft
import duckdb
import polars as pl
import pyarrow as pa
from datafusion import SessionContext

source = pa.table({"text": ["Café: why?"]})
context = SessionContext()
context.register_record_batches("source", [source.to_batches()])
engines = {
    "Daft": lambda query: daft.sql(query, source=daft.from_arrow(source)).to_pydict()["v"],
    "polars": lambda query: pl.SQLContext(source=pl.from_arrow(source)).execute(query, eager=True)["v"].to_list(),
    "duckdb": lambda query: [value for (value,) in duckdb.execute(query).fetchall()],
    "datafusion": lambda query: context.sql(query).to_pydict()["v"],
}


def tell(name: str, expression: str) -> None:
    (value,) = engines[name](f"SELECT {expression} AS v FROM source")
    print(f"{name} {version(name.lower())}: {expression} is {value!r}")


print("the text:", source["text"][0].as_py())
for name in engines:
    tell(name, "substr(text, 1, 4)")
for name in ("polars", "duckdb", "datafusion"):
    tell(name, "substr(text, strpos(text, 'why'))")
EOF
