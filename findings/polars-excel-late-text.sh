#!/bin/sh
# polars 2.1.0 with fastexcel 0.21.0: a text below a hundred numbers in a column of a workbook is read as null.
#
# The type of a column is guessed from its first hundred rows, and cells that do not fit become null without a warning.
# fastexcel is the default engine of `read_excel`. With `infer_schema_length=None` the column is text, and all is kept.
#
# For a batch: ids such as 1200 and A-17 in one column: rows lose their id, or their prompt.
#
#> polars 2.1.0, fastexcel 0.21.0
#> 100 numbers, then A-17: Int64, last row {'id': None, 'prompt': 'late'}
#>  99 numbers, then A-17: String, last row {'id': 'A-17', 'prompt': 'late'}
. "$(dirname "$0")/support/check.sh"
install polars==2.1.0 fastexcel==0.21.0 openpyxl==3.1.5
check <<'EOF'
from importlib.metadata import version

import openpyxl
import polars as pl

print(f"polars {version('polars')}, fastexcel {version('fastexcel')}")
for numbers in (100, 99):
    book = openpyxl.Workbook()
    book.active.append(["id", "prompt"])
    for number in range(numbers):
        book.active.append([number, "early"])
    book.active.append(["A-17", "late"])
    book.save("book.xlsx")
    table = pl.read_excel("book.xlsx")
    print(f"{numbers:3d} numbers, then A-17: {table['id'].dtype}, last row {table.row(-1, named=True)}")
EOF
