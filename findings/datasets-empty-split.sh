#!/bin/sh
# datasets 5.2.0: a folder in which one split has no rows cannot be loaded at all, not even its other splits.
#
# With an empty row group, as pyarrow writes an empty table, reading ends in "BatchSize must be greater than 0". Without
# a row group it ends in "corresponds to no data".
#
# For a batch: a small data set whose test split happens to be empty is lost to load_dataset.
#
#> datasets 5.2.0, pyarrow 26.0.1
#> both splits have rows: {'train': 2, 'test': 1}
#> test.parquet has an empty row group: DatasetGenerationError, BatchSize must be greater than 0, got 0
#> the same, train alone: DatasetGenerationError, BatchSize must be greater than 0, got 0
#> test.parquet has no row group: ValueError, Instruction "test" corresponds to no data!
. "$(dirname "$0")/support/check.sh"
install datasets==5.2.0 pyarrow==26.0.1
check <<'EOF'
import logging
import tempfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

datasets.disable_progress_bars()
logging.disable(logging.CRITICAL)
print(f"datasets {datasets.__version__}, pyarrow {pa.__version__}")
rows = pa.table({"text": ["a", "b"]})


def load(what, test, **options):
    folder = Path(tempfile.mkdtemp())
    pq.write_table(rows, folder / "train.parquet")
    with pq.ParquetWriter(folder / "test.parquet", rows.schema) as writer:
        if test is not None:
            writer.write_table(test)
    try:
        found = datasets.load_dataset(str(folder), cache_dir=tempfile.mkdtemp(), **options)
        print(f"{what}:", {name: len(split) for name, split in found.items()})
    except Exception as error:
        print(f"{what}: {type(error).__name__}, {error.__cause__ or error}")


load("both splits have rows", rows.slice(0, 1))
load("test.parquet has an empty row group", rows.slice(0, 0))
load("the same, train alone", rows.slice(0, 0), split="train")
load("test.parquet has no row group", None)
EOF
