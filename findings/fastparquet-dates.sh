#!/bin/sh
# fastparquet 2026.9.0: a date before 1677 or after 2262 is read as another date.
#
# Dates are counted in nanoseconds of 64 bits, which overflow. A timestamp of the same day is read well.
#
# For a batch: "9999-12-31", the usual "no end", enters the prompt as a day in 1816.
#
#> fastparquet 2026.9.0
#> 2026-01-02 as date: 2026-01-02, as timestamp: 2026-01-02
#> 1066-10-14 as date: 2235-11-22, as timestamp: 1066-10-14
#> 2300-01-01 as date: 1715-06-13, as timestamp: 2300-01-01
#> 9999-12-31 as date: 1816-03-29, as timestamp: 9999-12-31
. "$(dirname "$0")/support/check.sh"
install fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1
check <<'EOF'
from datetime import date, datetime

import fastparquet
import pyarrow as pa
import pyarrow.parquet as pq

print("fastparquet", fastparquet.__version__)
days = [date(2026, 1, 2), date(1066, 10, 14), date(2300, 1, 1), date(9999, 12, 31)]
times = pa.array([datetime(day.year, day.month, day.day) for day in days], pa.timestamp("us"))
pq.write_table(pa.table({"day": days, "time": times}), "days.parquet")
read = fastparquet.ParquetFile("days.parquet").to_pandas()
for day, as_day, as_time in zip(days, read["day"], read["time"]):
    print(f"{day} as date: {as_day.date()}, as timestamp: {as_time.date()}")
EOF
