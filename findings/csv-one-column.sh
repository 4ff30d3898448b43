#!/bin/sh
# duckdb 2.0.1 and clevercsv 0.8.5 split the prompts of a CSV file that has one column.
#
# A file of one column has no delimiter, so they look for a character that stands once in each line. duckdb then skips
# the header, and the first prompts that do not have it, and takes the next one for the names of two columns. clevercsv
# splits also prompts in quotes, at their spaces. With the delimiter named, both read the file as it is. polars and
# pandas take a comma unless they are told otherwise.
#
# For a batch: the first prompt is missing, and of the others only the half before the semicolon is asked.
#
#> the file: column prompt
#>   Write a poem; keep it short
#>   Name a city; be brief
#>   Count to five; skip two
#> duckdb 2.0.1: columns Write a poem + keep it short
#>   Name a city + be brief
#>   Count to five + skip two
#> clevercsv 0.8.5: column prompt
#>   Write a poem + keep it short
#>   Name a city + be brief
#>   Count to five + skip two
#> polars 2.1.0: column prompt
#>   Write a poem; keep it short
#>   Name a city; be brief
#>   Count to five; skip two
. "$(dirname "$0")/support/check.sh"
install duckdb==2.0.1 clevercsv==0.8.5 polars==2.1.0
check <<'EOF'
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import clevercsv
import duckdb
import polars as pl

PROMPTS = ["Write a poem; keep it short", "Name a city; be brief", "Count to five; skip two"]
Path("rows.csv").write_text("\n".join(["prompt", *PROMPTS, ""]), encoding="utf-8")


def tell(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"{name}: column{'s' if len(columns) > 1 else ''}", joined(columns))
    for row in rows:
        print(" ", joined(row))


def joined(cells: Iterable[str]) -> str:
    return " + ".join(cell.strip() for cell in cells)


tell("the file", ["prompt"], [[prompt] for prompt in PROMPTS])
cursor = duckdb.connect().execute("FROM 'rows.csv'")
tell(f"duckdb {version('duckdb')}", [column[0] for column in cursor.description], cursor.fetchall())
names, *rows = clevercsv.read_table("rows.csv")
tell(f"clevercsv {version('clevercsv')}", names, rows)
frame = pl.read_csv("rows.csv")
tell(f"polars {version('polars')}", frame.columns, frame.rows())
EOF
