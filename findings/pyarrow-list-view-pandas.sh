#!/bin/sh
# pyarrow 26.0.1, pandas 3.1.1: one null in a list_view column makes every row of a later slice null in pandas.
#
# The null may lie outside the slice. The Arrow table is right; only the conversion loses the values. A list column of
# the same rows converts well.
#
# For a batch: whoever reads a file slice by slice sends rows without their content, or drops them as empty.
#
#> pyarrow 26.0.1 with pandas 3.1.1
#> list<item: string>
#>   Arrow:  [['a'], ['b', 'c'], ['d']]
#>   pandas: [['a'], ['b', 'c'], ['d']]
#> list_view<item: string>
#>   Arrow:  [['a'], ['b', 'c'], ['d']]
#>   pandas: [None, None, None]
. "$(dirname "$0")/support/check.sh"
install pyarrow==26.0.1 pandas==3.1.1
check <<'EOF'
import pandas as pd
import pyarrow as pa

print("pyarrow", pa.__version__, "with pandas", pd.__version__)
for make in (pa.list_, pa.list_view):
    table = pa.table({"texts": pa.array([None, ["a"], ["b", "c"], ["d"]], make(pa.string()))})
    part = table.slice(1)
    print(part["texts"].type)
    print("  Arrow: ", part["texts"].to_pylist())
    print("  pandas:", [None if value is None else list(value) for value in part.to_pandas()["texts"]])
EOF
