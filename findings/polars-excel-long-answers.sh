#!/bin/sh
# polars 2.1.0: write_excel cuts a text at 32,767 characters without a word.
#
# That is as much as a cell of a workbook can hold. pandas warns of it with the same writer, XlsxWriter.
#
# For a batch: the longest answers lose their end when the table is handed on as a workbook.
#
#> polars 2.1.0, xlsxwriter 3.3.1
#> written: [9, 40000]
#> read:    [9, 32767]
#> warnings: []
#> pandas 3.1.1
#> warnings: ['Cell contents too long, truncated to 32767 characters']
. "$(dirname "$0")/support/check.sh"
install polars==2.1.0 xlsxwriter==3.3.1 fastexcel==0.21.0 pandas==3.1.1
check <<'EOF'
import warnings
from importlib.metadata import version

import pandas
import polars

answers = ["It rained", "x" * 40_000]
print(f"polars {version('polars')}, xlsxwriter {version('xlsxwriter')}")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    polars.DataFrame({"id": [1, 2], "answer": answers}).write_excel("answers.xlsx")
print("written:", list(map(len, answers)))
print("read:   ", list(map(len, polars.read_excel("answers.xlsx")["answer"])))
print("warnings:", [str(warning.message) for warning in told])
print("pandas", version("pandas"))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    pandas.DataFrame({"id": [1, 2], "answer": answers}).to_excel("pandas.xlsx", engine="xlsxwriter")
print("warnings:", [str(warning.message) for warning in told])
EOF
