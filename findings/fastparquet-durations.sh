#!/bin/sh
# fastparquet 2026.9.0 writes a duration as a time of day; pyarrow 26.0.1 and polars 2.1.0 then read other values.
#
# The Parquet type TIME ends at 24 hours, yet longer and negative durations are written as such without a word.
# pyarrow drops whole days, polars reads null, and only fastparquet itself gets the durations back.
#
# For a batch: "25 hours" becomes "1 hour" between the tool that wrote the input and the one that reads it.
#
#> fastparquet 2026.9.0
#> hours written: [1, 25, 49, -1]
#> pyarrow reads: ['01:00:00', '01:00:00', '01:00:00', '23:00:00']
#> polars reads:  ['01:00:00', 'None', 'None', 'None']
#> itself reads:  [1.0, 25.0, 49.0, -1.0]
. "$(dirname "$0")/support/check.sh"
install fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0
check <<'EOF'
import fastparquet
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

print("fastparquet", fastparquet.__version__)
hours = pd.Series([1, 25, 49, -1])
fastparquet.write("durations.parquet", pd.DataFrame({"took": pd.to_timedelta(hours, unit="h")}))
print("hours written:", hours.tolist())
print("pyarrow reads:", [str(value) for value in pq.read_table("durations.parquet")["took"].to_pylist()])
print("polars reads: ", [str(value) for value in pl.read_parquet("durations.parquet")["took"].to_list()])
own = fastparquet.ParquetFile("durations.parquet").to_pandas()["took"]
print("itself reads: ", [value.total_seconds() / 3600 for value in own])
EOF
