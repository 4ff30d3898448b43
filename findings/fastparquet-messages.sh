#!/bin/sh
# fastparquet 2026.9.0: a column of chat messages, a list of structs, is read as null in every row.
#
# No error and no warning. Lists of plain values and structs outside lists are read well.
#
# For a batch: a conversation per row is the common shape of chat data, and all of it is gone.
#
#> fastparquet 2026.9.0
#> written: [1, 2]
#> read:    [1, 2]
#> written: [['a'], ['b', 'c']]
#> read:    [['a'], ['b', 'c']]
#> written: [[{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hello'}], [{'role': 'user', 'content': 'Hello'}]]
#> read:    [None, None]
. "$(dirname "$0")/support/check.sh"
install fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1
check <<'EOF'
import fastparquet
import pyarrow as pa
import pyarrow.parquet as pq

print("fastparquet", fastparquet.__version__)
conversation = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
table = pa.table({"id": [1, 2], "tags": [["a"], ["b", "c"]], "messages": [conversation, conversation[1:]]})
pq.write_table(table, "chat.parquet")
for column in table.column_names:
    print("written:", table[column].to_pylist())
    print("read:   ", [value if column != "id" else int(value)
                       for value in fastparquet.ParquetFile("chat.parquet").to_pandas()[column]])  # fmt: skip
EOF
