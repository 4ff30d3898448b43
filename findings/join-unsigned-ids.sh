#!/bin/sh
# Daft 0.7.26 and pandas 3.1.1 join an unsigned id with the ids beside it when the other side is signed.
#
# Both sides are compared as doubles, and above 2**53 a double stands for several integers. pandas does so unless the
# ids of both sides are in rising order. In Daft a filter does it too: `id == N` keeps the neighbors of N. A hash in one
# file and its digits read from another are enough to get `uint64` here and `int64` there. polars, duckdb and datafusion
# compare exactly.
#
# For a batch: a prompt is given the answers of its neighbors too, and a join of unique ids has more rows than they.
#
#> three ids on each side, which differ by 1: int64 on the left, uint64 on the right
#> Daft 0.7.26: 5 rows, of which 2 join different ids
#> Daft 0.7.26, rows of the right side with one id: 2
#> pandas 3.1.1: 5 rows, of which 2 join different ids
#> polars 2.1.0: 3 rows, of which 0 join different ids
#> duckdb 2.0.1: 3 rows, of which 0 join different ids
#> datafusion 55.0.0: 3 rows, of which 0 join different ids
. "$(dirname "$0")/support/check.sh"
install daft==0.7.26 pandas==3.1.1 polars==2.1.0 duckdb==2.0.1 datafusion==55.0.0 pyarrow==25.0.1
check <<'EOF'
from importlib.metadata import version

import daft
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from datafusion import SessionContext

IDS = [2**53 + 2, 2**53, 2**53 + 1]
QUERY = "SELECT id, prompt, answer FROM prompts JOIN answers USING (id)"
prompts = pa.table({"id": pa.array(IDS, pa.int64()), "prompt": ["a", "b", "c"]})
answers = pa.table({"id": pa.array(IDS, pa.uint64()), "answer": ["a", "b", "c"]})


def with_datafusion() -> list[dict]:
    context = SessionContext()
    context.register_record_batches("prompts", [prompts.to_batches()])
    context.register_record_batches("answers", [answers.to_batches()])
    return context.sql(QUERY).to_pylist()


print("three ids on each side, which differ by 1: int64 on the left, uint64 on the right")
for name, join in (
    ("Daft", lambda: daft.from_arrow(prompts).join(daft.from_arrow(answers), on="id").to_pylist()),
    ("pandas", lambda: prompts.to_pandas().merge(answers.to_pandas(), on="id").to_dict("records")),
    ("polars", lambda: pl.from_arrow(prompts).join(pl.from_arrow(answers), on="id").to_dicts()),
    ("duckdb", lambda: [{"prompt": row[1], "answer": row[2]} for row in duckdb.execute(QUERY).fetchall()]),
    ("datafusion", with_datafusion),
):
    rows = join()
    wrong = sum(row["prompt"] != row["answer"] for row in rows)
    print(f"{name} {version(name.lower())}: {len(rows)} rows, of which {wrong} join different ids")
    if name == "Daft":
        kept = daft.from_arrow(answers).where(daft.col("id") == 2**53).to_pylist()
        print(f"{name} {version('daft')}, rows of the right side with one id: {len(kept)}")
EOF
