#!/bin/sh
# duckdb 2.0.1: one missing value that Excel writes as `#N/A`, and the prompts of a CSV file are cut at their first `#`.
#
# The reader guesses a character for comments. One row of a column of numbers that begins with `#` is taken for a
# comment, and then whatever stands behind a `#` in any row is one too, in cells that are not quoted. With `comment=''`
# the file is read as it is. polars, pyarrow and pandas know no comments unless they are asked to.
#
# For a batch: some prompts are asked without their end, and some rows are missing.
#
#> the file: 4 rows
#>   1.5,fix issue #7
#>   #N/A,which color is #ff0000?
#>   2.5,"is it C, C# or F#?"
#>   3.5,hello
#> duckdb 2.0.1: 3 rows
#>   1.5,fix issue
#>   2.5,is it C, C# or F#?
#>   3.5,hello
#> duckdb 2.0.1 with comment = '': 4 rows
#> polars 2.1.0: 4 rows
. "$(dirname "$0")/support/check.sh"
install duckdb==2.0.1 polars==2.1.0
check <<'EOF'
from importlib.metadata import version
from pathlib import Path

import duckdb
import polars as pl

LINES = ["1.5,fix issue #7", "#N/A,which color is #ff0000?", '2.5,"is it C, C# or F#?"', "3.5,hello"]
Path("rows.csv").write_text("\n".join(["weight,prompt", *LINES, ""]), encoding="utf-8")


def tell(name: str, lines: list[str], *, shown: bool = False) -> None:
    print(f"{name}: {len(lines)} rows", *(lines if shown else ()), sep="\n  ")


def with_duckdb(options: str = "") -> list[str]:
    rows = duckdb.execute(f"SELECT weight, rtrim(prompt) FROM read_csv('rows.csv'{options})").fetchall()
    return [f"{weight},{prompt}" for weight, prompt in rows]


tell("the file", LINES, shown=True)
tell(f"duckdb {version('duckdb')}", with_duckdb(), shown=True)
tell(f"duckdb {version('duckdb')} with comment = ''", with_duckdb(", comment = ''"))
tell(f"polars {version('polars')}", pl.read_csv("rows.csv")["prompt"].to_list())
EOF
