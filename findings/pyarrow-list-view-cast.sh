#!/bin/sh
# pyarrow 26.0.1: a cast from list_view to list gives rows the elements of other rows.
#
# Parquet keeps the Arrow type, so a file written from a list_view column comes back as one. The cast takes the offsets
# of the views as they are and ignores their sizes. After a filter, the elements of rows that were removed show up in
# the rows that were kept, and full validation passes. Without a filter the last row is empty. A cast from
# large_list_view and to large_list does the same.
#
# For a batch: a prompt column made of lists (messages, few-shot pairs) can hold a neighbor's text.
#
#> pyarrow 26.0.1
#> read from Parquet:  list_view<element: string>
#> kept, as list_view: [['kept one'], ['kept two']]
#> kept, as list:      [['kept one', 'removed'], ['kept two', 'removed']]
#> full validation:    passed
#> not filtered:       [['first'], ['second', 'third']] becomes [['first'], []]
. "$(dirname "$0")/support/check.sh"
install pyarrow==26.0.1
check <<'EOF'
import io

import pyarrow as pa
import pyarrow.parquet as pq

print("pyarrow", pa.__version__)
rows = [["kept one"], ["removed"], ["kept two"], ["removed"], ["kept three"]]
file = io.BytesIO()
pq.write_table(pa.table({"texts": pa.array(rows, pa.list_view(pa.string()))}), file)
column = pq.read_table(file)["texts"]
print("read from Parquet: ", column.type)
kept = column.filter(pa.array([True, False, True, False, True])).slice(0, 2)
print("kept, as list_view:", kept.to_pylist())
table = pa.table({"texts": kept}).cast(pa.schema({"texts": pa.list_(pa.string())}))
print("kept, as list:     ", table["texts"].to_pylist())
table.validate(full=True)
print("full validation:    passed")
whole = pa.array([["first"], ["second", "third"]], pa.list_view(pa.string()))
print("not filtered:      ", whole.to_pylist(), "becomes", whole.cast(pa.list_(pa.string())).to_pylist())
EOF
